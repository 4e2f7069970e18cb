//! What letters say.

use std::fmt::Write;
use std::time::SystemTime;

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};

use crate::types::{Money, OrderId, Timestamp};

/// An order to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    pub(super) order: OrderId,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) lines: Vec<Line>,
    pub(super) total: Money,
    pub(super) placed_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// A line of the order, as it was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) quantity: i64,
    pub(super) price: Money,
}

/// No letter can be written; the text is for the log and names no address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unwritable(String);

/// Writes the confirmation, in plain text and in HTML. The same order always gets the same
/// `Message-ID`, by which a repeated letter can be told.
pub(super) fn confirmation(confirmation: &Confirmation, from: &Mailbox) -> Result<Message, Unwritable> {
    let Confirmation { order, username, email, placed_at, .. } = confirmation;
    Message::builder()
        .from(from.clone())
        .to(recipient(username, email)?)
        .subject(format!("Order {order} confirmed"))
        .date(SystemTime::from(placed_at.0))
        .message_id(Some(format!("<order-{order}@{}>", from.email.domain())))
        .multipart(MultiPart::alternative_plain_html(plain(confirmation), html(confirmation)))
        .map_err(|error| Unwritable(error.to_string()))
}

/// A link to choose a new password, to be mailed once.
pub(super) struct ResetLink {
    pub(super) username: String,
    pub(super) email: String,
    /// The token, or an address that ends in it.
    pub(super) link: String,
    /// Names the letter.
    pub(super) id: String,
}

/// Writes the letter with a link, in plain text.
pub(super) fn reset(link: &ResetLink, from: &Mailbox) -> Result<Message, Unwritable> {
    let ResetLink { username, email, link, id } = link;
    let text = format!(
        "Hello {username},\n\n\
         you, or somebody else, asked for a new password for your account. To choose\n\
         one within the next hour, use this, which works once:\n\n{link}\n\n\
         It signs you out everywhere. If it was not you who asked, leave this letter\n\
         alone: your password stays as it is.\n"
    );
    Message::builder()
        .from(from.clone())
        .to(recipient(username, email)?)
        .subject("Choose a new password")
        .message_id(Some(format!("<reset-{id}@{}>", from.email.domain())))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(unbroken(text)))
        .map_err(|error| Unwritable(error.to_string()))
}

/// A text as it is where that is allowed (ASCII, and the lines of ours are far below RFC 5322's 998
/// characters), so that a link can be copied from the raw mail too; otherwise encoded.
fn unbroken(text: String) -> Body {
    if text.is_ascii() {
        let lines = text.replace('\n', "\r\n").into_bytes();
        return Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    }
    Body::new(text)
}

fn recipient(username: &str, email: &str) -> Result<Mailbox, Unwritable> {
    let address = email.parse().map_err(|error| Unwritable(format!("the address is no good: {error}")))?;
    Ok(Mailbox::new(Some(username.to_owned()), address))
}

fn plain(Confirmation { order, username, lines, total, expires_at, .. }: &Confirmation) -> String {
    let mut text = format!("Hello {username},\n\nthank you for your order {order}.\n\n");
    for Line { name, quantity, price } in lines {
        let _ = writeln!(text, "{quantity} x {name}, {price} each: {}", price.times(*quantity));
    }
    let _ = write!(text, "\nTotal: {total}\nStatus: pending, until {}\n\n", minute(*expires_at));
    text.push_str("The goods are held for you until then; the order expires if it is not paid in time.\n");
    text
}

fn html(Confirmation { order, username, lines, total, expires_at, .. }: &Confirmation) -> String {
    let mut text = format!(
        "<!DOCTYPE html>\n<html><body>\n<p>Hello {},</p>\n<p>thank you for your order {order}.</p>\n\
         <table cellpadding=\"4\">\n<tr><th align=\"left\">Product</th><th>Quantity</th><th>Price</th><th>Subtotal</th></tr>\n",
        escaped(username)
    );
    for Line { name, quantity, price } in lines {
        let (name, subtotal) = (escaped(name), price.times(*quantity));
        let _ = writeln!(
            text,
            "<tr><td>{name}</td><td align=\"right\">{quantity}</td><td align=\"right\">{price}</td><td align=\"right\">{subtotal}</td></tr>"
        );
    }
    let _ = write!(
        text,
        "</table>\n<p><strong>Total: {total}</strong></p>\n<p>Status: pending, until {}. The goods are held for you \
         until then; the order expires if it is not paid in time.</p>\n</body></html>\n",
        minute(*expires_at)
    );
    text
}

/// `2025-01-15 06:31 UTC`.
fn minute(Timestamp(at): Timestamp) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", at.hour(), at.minute())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn order(email: &str) -> Confirmation {
        let line =
            |name: &str, quantity| Line { name: name.into(), quantity, price: Money::from_cents(150_000) };
        Confirmation {
            order: OrderId(123),
            username: "ada".into(),
            email: email.into(),
            lines: vec![line("Laptop <Pro>", 2), line("Mouse", 1)],
            total: Money::from_cents(450_000),
            placed_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
            expires_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        }
    }

    fn sender() -> Mailbox {
        "Emporium <shop@example.com>".parse().unwrap()
    }

    #[test]
    fn a_letter_tells_what_was_bought_and_can_be_told_from_a_repeated_one() {
        let letter = confirmation(&order("ada@example.com"), &sender()).unwrap();
        let text = String::from_utf8(letter.formatted()).unwrap();
        for part in [
            "Subject: Order 123 confirmed",
            "Message-ID: <order-123@example.com>",
            "2 x Laptop <Pro>, 1500.00 each: 3000.00",
            "Laptop &lt;Pro&gt;",
            "Total: 4500.00",
            "Status: pending, until 1970-01-01 00:00 UTC",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert_eq!(plain(&order("a@b.c")), plain(&order("a@b.c")));
    }

    #[test]
    fn an_address_that_is_none_gets_no_letter() {
        for email in ["", "ada", "ada@", "ada@example.com\r\nBcc: eve@example.com"] {
            assert!(confirmation(&order(email), &sender()).is_err(), "{email:?}");
        }
    }

    #[test]
    fn a_link_stands_unbroken_on_a_line_of_its_own() {
        let link = "https://shop.example.com/account/reset/?token=0123456789abcdef0123456789abcdef";
        let (username, email, id) = ("ada".into(), "ada@example.com".into(), "77".into());
        let letter = reset(&ResetLink { username, email, link: link.into(), id }, &sender()).unwrap();
        let text = String::from_utf8(letter.formatted()).unwrap();
        assert!(text.lines().any(|line| line == link), "{text}");
        assert!(text.contains("Message-ID: <reset-77@example.com>"), "{text}");
    }
}
