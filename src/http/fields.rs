//! Typed readers of request fields.
//!
//! Each reader checks one field and notes what is wrong with it; after the last one,
//! [`Fields::check`] refuses the request with everything that was noted, in the order of reading. A
//! reader that has noted something gives a placeholder, which nobody sees past the check.

use emporium_actors::accounts::parse_email;
use emporium_actors::types::Money;
use serde_json::{Map, Value};

use super::body::kind_of;
use super::error::{ApiError, FieldErrors};

const REQUIRED: &str = "This field is required.";
const NOT_NULL: &str = "This field may not be null.";
const NOT_BLANK: &str = "This field may not be blank.";
const TOO_LARGE: &str = "String value too large.";
/// Numbers written as longer text than this are refused unread.
const NUMBER_TEXT_MAX: usize = 1000;

/// What a field must be like.
pub(crate) trait Rule {
    /// What it is read into.
    type Value;

    /// Reads a value that is there and not null.
    fn read(&self, value: &Value) -> Result<Self::Value, Refusal>;

    /// Stands in for a value that was refused.
    fn placeholder(&self) -> Self::Value;
}

/// Why a value was refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// It counts as null.
    Null,
    /// For these reasons.
    Because(Vec<String>),
}

impl<S: Into<String>> From<S> for Refusal {
    fn from(message: S) -> Self {
        Self::Because(vec![message.into()])
    }
}

/// The fields of a request, or of a member of a list in it, while they are read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    values: &'a Map<String, Value>,
    is_form: bool,
    errors: FieldErrors,
}

impl<'a> Fields<'a> {
    /// Nothing read yet.
    pub(super) fn new(values: &'a Map<String, Value>, is_form: bool) -> Self {
        Self { values, is_form, errors: FieldErrors::default() }
    }

    /// Whether the field was sent at all, null included.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value as it was sent.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name)
    }

    /// A field that must be there and not null.
    pub(crate) fn required<R: Rule>(&mut self, name: &str, rule: R) -> R::Value {
        self.sought(name, &rule).unwrap_or_else(|| rule.placeholder())
    }

    /// A field that must be there and not null, without a placeholder for one that was refused.
    pub(crate) fn sought<R: Rule>(&mut self, name: &str, rule: R) -> Option<R::Value> {
        if !self.is_given(name) {
            self.errors.add(name, REQUIRED);
        }
        self.optional(name, rule)
    }

    /// A field that may be absent but not null.
    pub(crate) fn optional<R: Rule>(&mut self, name: &str, rule: R) -> Option<R::Value> {
        match self.nullable(name, rule) {
            Some(None) => {
                self.errors.add(name, NOT_NULL);
                None
            }
            read => read.flatten(),
        }
    }

    /// A field that a whole write must have and a partial one may leave out.
    pub(crate) fn wanted<R: Rule>(&mut self, name: &str, rule: R, partial: bool) -> Option<R::Value> {
        if partial { self.optional(name, rule) } else { Some(self.required(name, rule)) }
    }

    /// A field that may be absent (`None`) or null (`Some(None)`).
    pub(crate) fn nullable<R: Rule>(&mut self, name: &str, rule: R) -> Option<Option<R::Value>> {
        let value = self.values.get(name)?;
        if value.is_null() {
            return Some(None);
        }
        match rule.read(value) {
            Ok(read) => Some(Some(read)),
            Err(Refusal::Null) => Some(None),
            Err(Refusal::Because(messages)) => {
                messages.into_iter().for_each(|message| self.errors.add(name, message));
                None
            }
        }
    }

    /// A list of objects, each read by `read`; `None` when absent. At least one, at most `count_max`.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        count_max: usize,
        read: impl Fn(&mut Fields<'_>) -> T,
    ) -> Option<Vec<T>> {
        let value = self.values.get(name)?;
        let message = match value {
            Value::Null => NOT_NULL.to_owned(),
            Value::Array(members) if members.is_empty() => "This list may not be empty.".to_owned(),
            Value::Array(members) if members.len() > count_max => {
                format!("Ensure this field has no more than {count_max} elements.")
            }
            Value::Array(members) => return Some(self.members(name, members, read)),
            other => format!("Expected a list of items but got type \"{}\".", kind_of(other)),
        };
        self.errors.add(name, message);
        None
    }

    fn members<T>(&mut self, name: &str, members: &[Value], read: impl Fn(&mut Fields<'_>) -> T) -> Vec<T> {
        let mut errors = Vec::with_capacity(members.len());
        let mut items = Vec::with_capacity(members.len());
        for member in members {
            let Value::Object(values) = member else {
                let text = format!("Invalid data. Expected a dictionary, but got {}.", kind_of(member));
                errors.push(FieldErrors::one("non_field_errors", text));
                continue;
            };
            let mut fields = Fields::new(values, self.is_form);
            items.push(read(&mut fields));
            errors.push(fields.errors);
        }
        if errors.iter().any(|errors| !errors.is_empty()) {
            self.errors.add_members(name, errors);
        }
        items
    }

    /// Notes something that no rule knows of.
    pub(crate) fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.errors.add(name, message);
    }

    /// Whether nothing was wrong so far.
    #[cfg(test)]
    pub(crate) fn is_fine(&self) -> bool {
        self.errors.is_empty()
    }

    /// To be called after the last reader.
    ///
    /// # Errors
    /// `400` with everything that was noted.
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::validation(self.errors)) }
    }
}

impl<R: Rule> Rule for &R {
    type Value = R::Value;

    fn read(&self, value: &Value) -> Result<Self::Value, Refusal> {
        (*self).read(value)
    }

    fn placeholder(&self) -> Self::Value {
        (*self).placeholder()
    }
}

/// Text; numbers count as their text, surrounding blanks do not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    chars_max: usize,
    may_be_blank: bool,
}

impl Text {
    /// Of at most that many code points, and not blank.
    pub(crate) const fn up_to(chars_max: usize) -> Self {
        Self { chars_max, may_be_blank: false }
    }

    /// Of any length, and not blank.
    pub(crate) const fn any() -> Self {
        Self::up_to(usize::MAX)
    }

    /// May be blank as well.
    pub(crate) const fn or_blank(self) -> Self {
        Self { may_be_blank: true, ..self }
    }
}

impl Rule for Text {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, Refusal> {
        let number;
        let text = match value {
            Value::String(text) => text.trim(),
            Value::Number(n) => {
                number = n.to_string();
                &number
            }
            _ => return Err("Not a valid string.".into()),
        };
        if text.is_empty() && !self.may_be_blank {
            return Err(NOT_BLANK.into());
        }
        let mut messages = Vec::new();
        if text.chars().count() > self.chars_max {
            messages.push(format!("Ensure this field has no more than {} characters.", self.chars_max));
        }
        if text.contains('\0') {
            messages.push("Null characters are not allowed.".to_owned());
        }
        if messages.is_empty() { Ok(text.to_owned()) } else { Err(Refusal::Because(messages)) }
    }

    fn placeholder(&self) -> String {
        String::new()
    }
}

/// An e-mail address of at most 254 code points; its domain comes out in lower case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Email;

impl Rule for Email {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, Refusal> {
        let invalid = "Enter a valid email address.";
        if !matches!(value, Value::String(_) | Value::Number(_)) {
            return Err(invalid.into());
        }
        let text = match Text::up_to(254).read(value) {
            Ok(text) => text,
            Err(Refusal::Because(mut messages)) => {
                let text = value.as_str().map_or("", str::trim);
                if !text.is_empty() && parse_email(text).is_none() {
                    messages.push(invalid.to_owned());
                }
                return Err(Refusal::Because(messages));
            }
            Err(refusal) => return Err(refusal),
        };
        parse_email(&text).ok_or_else(|| invalid.into())
    }

    fn placeholder(&self) -> String {
        String::new()
    }
}

/// A price from 0 to 99,999,999.99, as text or as a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price;

/// An amount of at most 12 digits before the point, as `expected_total` is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total;

impl Rule for Price {
    type Value = Money;

    fn read(&self, value: &Value) -> Result<Money, Refusal> {
        read_money(value, 10)
    }

    fn placeholder(&self) -> Money {
        Money::ZERO
    }
}

impl Rule for Total {
    type Value = Money;

    fn read(&self, value: &Value) -> Result<Money, Refusal> {
        read_money(value, 14)
    }

    fn placeholder(&self) -> Money {
        Money::ZERO
    }
}

/// Two decimals, `digits_max` digits in all, not negative.
fn read_money(value: &Value, digits_max: i64) -> Result<Money, Refusal> {
    let invalid = "A valid number is required.";
    let text = match value {
        Value::String(text) if text.chars().count() > NUMBER_TEXT_MAX => return Err(TOO_LARGE.into()),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number_text(&number.to_string()).ok_or(invalid)?,
        _ => return Err(invalid.into()),
    };
    let decimal = Decimal::parse(&text).ok_or(invalid)?;
    let (total, whole, places) = decimal.precision();
    if total > digits_max {
        return Err(format!("Ensure that there are no more than {digits_max} digits in total.").into());
    }
    if places > 2 {
        return Err("Ensure that there are no more than 2 decimal places.".into());
    }
    if whole > digits_max - 2 {
        let text =
            format!("Ensure that there are no more than {} digits before the decimal point.", digits_max - 2);
        return Err(text.into());
    }
    let cents = decimal.cents().ok_or(invalid)?;
    if cents < 0 {
        return Err("Ensure this value is greater than or equal to 0.".into());
    }
    Ok(Money::from_cents(cents))
}

/// A JSON number as a double shows itself: fractions and exponents lose what a double cannot keep.
fn number_text(text: &str) -> Option<String> {
    if !text.contains(['.', 'e', 'E']) {
        return Some(text.to_owned());
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| format!("{number:?}"))
}

/// A decimal number: digits times a power of ten.
struct Decimal {
    negative: bool,
    /// Without leading zeros; `0` for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `[+-] digits [. digits] [e [+-] digits]`, ASCII only.
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits }.to_owned();
        Some(Self { negative, digits, exponent: exponent - fraction.len() as i64 })
    }

    /// Digits in total, before the point and behind it, as written.
    fn precision(&self) -> (i64, i64, i64) {
        let (count, behind) = (self.digits.len() as i64, -self.exponent);
        if behind <= 0 {
            (count + self.exponent, count + self.exponent, 0)
        } else if count > behind {
            (count, count - behind, behind)
        } else {
            (behind, 0, behind)
        }
    }

    /// In hundredths, if it is a whole number of them and fits.
    fn cents(&self) -> Option<i64> {
        let power = u32::try_from(self.exponent + 2).ok()?;
        let cents = self.digits.parse::<i64>().ok()?.checked_mul(10_i64.checked_pow(power)?)?;
        Some(if self.negative { -cents } else { cents })
    }
}

/// Saturates far beyond what any field accepts.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(1_000_000_000_i64).min(1_000_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

/// A whole number within bounds, as a number or as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    min: i64,
    max: i64,
}

impl Integer {
    /// From `min` to `max`, both included.
    pub(crate) const fn between(min: i64, max: i64) -> Self {
        Self { min, max }
    }
}

impl Rule for Integer {
    type Value = i64;

    fn read(&self, value: &Value) -> Result<i64, Refusal> {
        let invalid = "A valid integer is required.";
        let text = match value {
            Value::String(text) if text.chars().count() > NUMBER_TEXT_MAX => return Err(TOO_LARGE.into()),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number_text(&number.to_string()).ok_or(invalid)?,
            _ => return Err(invalid.into()),
        };
        let whole = match text.split_once('.') {
            Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
            Some(_) => return Err(invalid.into()),
            None => &text,
        };
        let number = parse_integer(whole).ok_or(invalid)?;
        if number > i128::from(self.max) {
            return Err(format!("Ensure this value is less than or equal to {}.", self.max).into());
        }
        if number < i128::from(self.min) {
            return Err(format!("Ensure this value is greater than or equal to {}.", self.min).into());
        }
        i64::try_from(number).map_err(|_| invalid.into())
    }

    fn placeholder(&self) -> i64 {
        self.min
    }
}

/// `[+-] digits`, saturating at 128 bits.
fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i128>().unwrap_or(i128::MAX);
    Some(if negative { -size } else { size })
}

/// The id of another object. Whether there is one, the shop says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrimaryKey;

impl Rule for PrimaryKey {
    type Value = i64;

    fn read(&self, value: &Value) -> Result<i64, Refusal> {
        let incorrect = || format!("Incorrect type. Expected pk value, received {}.", kind_of(value));
        let text = match value {
            Value::String(text) if text.is_empty() => return Err(Refusal::Null),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => {
                let text = number_text(&number.to_string()).ok_or_else(incorrect)?;
                text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
            }
            _ => return Err(incorrect().into()),
        };
        let number = parse_integer(&text).ok_or_else(incorrect)?;
        i64::try_from(number).map_err(|_| unknown_key(&text).into())
    }

    fn placeholder(&self) -> i64 {
        0
    }
}

/// What is said of an id that nothing has.
pub(crate) fn unknown_key(id: impl std::fmt::Display) -> String {
    format!("Invalid pk \"{id}\" - object does not exist.")
}

/// Yes or no, in the spellings that forms use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn read(&self, value: &Value) -> Result<bool, Refusal> {
        let text = match value {
            Value::Bool(flag) => return Ok(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match text.as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err("Must be a valid boolean.".into()),
        }
    }

    fn placeholder(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a required field of this JSON is read as, or what is said of it.
    fn told<R: Rule>(rule: R, json: &str) -> String
    where
        R::Value: ToString,
    {
        let values: Map<String, Value> = serde_json::from_str(&format!("{{\"f\": {json}}}")).unwrap();
        let mut fields = Fields::new(&values, false);
        let read = fields.required("f", rule);
        match fields.check() {
            Ok(()) => read.to_string(),
            Err(error) => {
                let body = serde_json::to_value(&error).unwrap();
                let messages = body["f"].as_array().unwrap().iter().map(|m| m.as_str().unwrap());
                messages.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn prices_as_documented() {
        for (json, price) in [
            ("\"5\"", "5.00"),
            ("5", "5.00"),
            ("\"5.5\"", "5.50"),
            ("5.5", "5.50"),
            ("\".5\"", "0.50"),
            ("\"1.\"", "1.00"),
            ("\"007.50\"", "7.50"),
            ("\"+5\"", "5.00"),
            ("\" 12.30 \"", "12.30"),
            ("10.10", "10.10"),
            ("1e3", "1000.00"),
            ("\"1e3\"", "1000.00"),
            ("\"1e-2\"", "0.01"),
            ("99999999.99", "99999999.99"),
            ("12.340", "12.34"),
            ("1.0", "1.00"),
            ("\"-0\"", "0.00"),
            ("0", "0.00"),
        ] {
            assert_eq!(told(Price, json), price, "{json}");
        }
    }

    #[test]
    fn refused_prices_as_documented() {
        for (text, values) in [
            (
                "Ensure that there are no more than 2 decimal places.",
                &["\"12.345\"", "12.345", "\"1.500\"", "\"0.000\"", "\"1e-3\""][..],
            ),
            (
                "Ensure that there are no more than 8 digits before the decimal point.",
                &["\"100000000\"", "100000000", "\"1e8\"", "1000000000"],
            ),
            (
                "Ensure that there are no more than 10 digits in total.",
                &[
                    "\"100000000.00\"",
                    "\"123456789012\"",
                    "\"99999999.999\"",
                    "0.30000000000000004",
                    "\"1e1000000\"",
                    "\"1e99999999999999999999\"",
                    "1234567890.0",
                ],
            ),
            (
                "A valid number is required.",
                &[
                    "\"abc\"",
                    "\"\"",
                    "\"  \"",
                    "\"1,5\"",
                    "\"$5\"",
                    "\"0x10\"",
                    "\"NaN\"",
                    "\"Infinity\"",
                    "true",
                    "[]",
                    "{}",
                    "1e400",
                    "\".\"",
                    "\"1e\"",
                    "\"+\"",
                    "\"--1\"",
                ],
            ),
            ("Ensure this value is greater than or equal to 0.", &["\"-1\"", "-1", "\"-0.01\""]),
            (NOT_NULL, &["null"]),
        ] {
            for json in values {
                assert_eq!(told(Price, json), text, "{json}");
            }
        }
        assert_eq!(told(Price, &format!("\"{}\"", "1".repeat(1001))), TOO_LARGE);
        assert_eq!(told(Total, "\"999999999999.99\""), "999999999999.99");
    }

    #[test]
    fn stocks_as_documented() {
        let stock = Integer::between(0, 2_147_483_647);
        for (json, told_of_it) in [
            ("0", "0"),
            ("50", "50"),
            ("2147483647", "2147483647"),
            ("\"5\"", "5"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("\"1.0\"", "1"),
            ("\" 5 \"", "5"),
            ("\"05\"", "5"),
            ("\"+5\"", "5"),
            ("-1", "Ensure this value is greater than or equal to 0."),
            ("\"-1\"", "Ensure this value is greater than or equal to 0."),
            ("2147483648", "Ensure this value is less than or equal to 2147483647."),
            ("100000000000000000000", "Ensure this value is less than or equal to 2147483647."),
        ] {
            assert_eq!(told(stock, json), told_of_it, "{json}");
        }
        for json in ["1.5", "\"1.5\"", "\"abc\"", "\"1e3\"", "\"\"", "true", "[]", "{}", "1e400", "1e20"] {
            assert_eq!(told(stock, json), "A valid integer is required.", "{json}");
        }
        assert_eq!(told(stock, "null"), NOT_NULL);
        assert_eq!(told(stock, &format!("\"{}\"", "1".repeat(1001))), TOO_LARGE);
    }

    #[test]
    fn keys_of_categories_as_documented() {
        for json in ["1", "\"1\"", "\" 1 \"", "1.0"] {
            assert_eq!(told(PrimaryKey, json), "1", "{json}");
        }
        let huge = "Invalid pk \"100000000000000000000\" - object does not exist.";
        assert_eq!(told(PrimaryKey, "100000000000000000000"), huge);
        assert_eq!(told(PrimaryKey, "\"100000000000000000000\""), huge);
        let two_to_63 = told(PrimaryKey, "9223372036854775808");
        assert_eq!(two_to_63, "Invalid pk \"9223372036854775808\" - object does not exist.");
        for (json, kind) in [
            ("\"abc\"", "str"),
            ("\" \"", "str"),
            ("\"1.0\"", "str"),
            ("\"1e1\"", "str"),
            ("true", "bool"),
            ("[]", "list"),
            ("{}", "dict"),
            ("1.5", "float"),
            ("1e400", "float"),
        ] {
            let text = format!("Incorrect type. Expected pk value, received {kind}.");
            assert_eq!(told(PrimaryKey, json), text, "{json}");
        }
        assert_eq!(told(PrimaryKey, "null"), NOT_NULL);
        assert_eq!(told(PrimaryKey, "\"\""), NOT_NULL);
    }

    #[test]
    fn text_as_documented() {
        let text = Text::up_to(5);
        for (json, told_of_it) in [
            ("\" a b\\n \"", "a b"),
            ("\"\u{a0}x\u{a0}\"", "x"),
            ("123", "123"),
            ("1.5", "1.5"),
            ("\"äöüßé\"", "äöüßé"),
            ("\"abcdef\"", "Ensure this field has no more than 5 characters."),
            ("\"\"", NOT_BLANK),
            ("\"  \"", NOT_BLANK),
            ("null", NOT_NULL),
            ("true", "Not a valid string."),
            ("[]", "Not a valid string."),
            ("{}", "Not a valid string."),
            ("\"a\\u0000b\"", "Null characters are not allowed."),
        ] {
            assert_eq!(told(text, json), told_of_it, "{json}");
        }
        assert_eq!(told(text.or_blank(), "\"\""), "");
    }

    #[test]
    fn addresses_as_documented() {
        for (json, stored) in [
            ("\"A.b+c@EXAMPLE.com\"", "A.b+c@example.com"),
            ("\"a@localhost\"", "a@localhost"),
            ("\"a@[127.0.0.1]\"", "a@[127.0.0.1]"),
            ("\"a@münchen.de\"", "a@münchen.de"),
        ] {
            assert_eq!(told(Email, json), stored, "{json}");
        }
        for json in [
            "\"plain\"",
            "\"a@b\"",
            "\"a@b.c\"",
            "\"@x.com\"",
            "\"a b@c.com\"",
            "\"a@b.com,c@d.com\"",
            "\"ä@b.com\"",
            "\"\\\"a b\\\"@c.com\"",
            "true",
            "[]",
            "5",
            "\"a@-b.com\"",
            "\"a..b@c.com\"",
        ] {
            assert_eq!(told(Email, json), "Enter a valid email address.", "{json}");
        }
        assert_eq!(told(Email, "\"\""), NOT_BLANK);
        let long = format!("\"{}@{}.com\"", "a".repeat(60), "b.".repeat(95) + "bbb");
        assert_eq!(told(Email, &long), "Ensure this field has no more than 254 characters.");
    }

    #[test]
    fn every_field_is_reported_at_once_and_in_order() {
        let values: Map<String, Value> =
            serde_json::from_str(r#"{"price":"x","items":[{"product":1},{"product":"x"},5]}"#).unwrap();
        let mut fields = Fields::new(&values, false);
        fields.required("name", Text::up_to(100));
        fields.required("price", Price);
        assert_eq!(fields.optional("stock", Integer::between(0, 5)), None);
        let items = fields.objects("items", 10, |item| item.required("product", PrimaryKey));
        assert_eq!(items, Some(vec![1, 0]));
        let text = serde_json::to_string(&fields.check().unwrap_err()).unwrap();
        assert_eq!(
            text,
            r#"{"name":["This field is required."],"price":["A valid number is required."],"items":[{},{"product":["Incorrect type. Expected pk value, received str."]},{"non_field_errors":["Invalid data. Expected a dictionary, but got int."]}]}"#
        );
    }

    #[test]
    fn absent_null_and_given_are_three_things() {
        let values: Map<String, Value> = serde_json::from_str(r#"{"a":null,"b":"x"}"#).unwrap();
        let mut fields = Fields::new(&values, false);
        assert_eq!(fields.nullable("a", Text::any()), Some(None));
        assert_eq!(fields.nullable("b", Text::any()), Some(Some("x".to_owned())));
        assert_eq!(fields.nullable("c", Text::any()), None);
        assert!(fields.check().is_ok());
    }
}
