//! What a client may say on an open socket.

use emporium_actors::feed::{FeedRequest, PRODUCTS_MAX};
use emporium_actors::types::{ProductId, Seq};
use serde_json::Value;

/// A message that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// Signs in, with an access token.
    Auth(String),
    /// Concerns the feed.
    Feed(FeedRequest),
}

/// Reads a message; the error is the sentence that the client is told.
pub(super) fn parse(text: &str) -> Result<ClientMessage, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "The message is not JSON.".to_owned())?;
    let kind = value.get("type").and_then(Value::as_str).ok_or("The message has no \"type\".")?;
    match kind {
        "auth" => {
            let access =
                value.get("access").and_then(Value::as_str).ok_or("\"access\" must be an access token.")?;
            Ok(ClientMessage::Auth(access.to_owned()))
        }
        "resume" => {
            let since = value.get("since").and_then(Value::as_i64).filter(|since| *since >= 0);
            let since = since.ok_or("\"since\" must be a whole number from 0.")?;
            Ok(ClientMessage::Feed(FeedRequest::Resume(Seq(since))))
        }
        "subscribe" => Ok(ClientMessage::Feed(FeedRequest::Subscribe(products(&value)?))),
        "unsubscribe" => Ok(ClientMessage::Feed(FeedRequest::Unsubscribe(products(&value)?))),
        _ => Err("Unknown message type.".to_owned()),
    }
}

fn products(value: &Value) -> Result<Vec<ProductId>, String> {
    let refusal = || format!("\"products\" must be a list of at most {PRODUCTS_MAX} product ids.");
    let list = value.get("products").and_then(Value::as_array).ok_or_else(refusal)?;
    if list.len() > PRODUCTS_MAX {
        return Err(refusal());
    }
    list.iter().map(|id| id.as_i64().map(ProductId).ok_or_else(refusal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_the_contract_is_understood() {
        let feed = |request| Ok(ClientMessage::Feed(request));
        let ids = vec![ProductId(1), ProductId(2)];
        assert_eq!(parse(r#"{"type":"auth","access":"x"}"#), Ok(ClientMessage::Auth("x".into())));
        assert_eq!(parse(r#"{"type":"resume","since":7}"#), feed(FeedRequest::Resume(Seq(7))));
        let subscribe = parse(r#"{"type":"subscribe","products":[1,2],"x":null}"#);
        assert_eq!(subscribe, feed(FeedRequest::Subscribe(ids.clone())));
        let unsubscribe = parse(r#"{"type":"unsubscribe","products":[1,2]}"#);
        assert_eq!(unsubscribe, feed(FeedRequest::Unsubscribe(ids)));
    }

    #[test]
    fn anything_else_is_answered_with_a_sentence() {
        let many = format!(r#"{{"type":"subscribe","products":{:?}}}"#, vec![1; 1001]);
        for text in [
            "",
            "x",
            "[]",
            "null",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"other"}"#,
            r#"{"type":"auth"}"#,
            r#"{"type":"resume","since":-1}"#,
            r#"{"type":"resume","since":1.5}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","products":["1"]}"#,
            &many,
        ] {
            assert!(parse(text).is_err_and(|detail| detail.ends_with('.')), "{text}");
        }
    }
}
