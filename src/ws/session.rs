//! One open socket.
//!
//! The session fetches from its subscription only when the connection takes bytes: the server asks
//! this actor for more only while its own write buffer has room, and after each part the feed lets
//! the server ask again. A client that does not read therefore puts its session to sleep, timers
//! included; what it is owed waits in its bounded outbox, and when to give it up is the
//! [`watchdog`](super::watchdog)'s to say, which is awake.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message as Command, SpawnHandle,
    StreamHandler, WrapFuture,
};
use actix_http::ws::Item;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use emporium_actors::Shop;
use emporium_actors::accounts::{Access, AccountError, Accounts};
use emporium_actors::feed::{Ending, FeedLine, FeedPart, Seat, StockSelection, Subscription, error_frame};
use emporium_actors::types::Seq;
use futures_util::{Stream, stream};

use super::message::{self, ClientMessage};
use super::upgrade::MESSAGE_BYTES_MAX;
use super::watchdog::Vitals;
use crate::http::error::ApiError;

/// How long a client may take to sign in.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Not, or not any more, signed in.
const SIGNED_OUT: u16 = 4001;
/// Too slow for a feed of which nothing may be dropped.
const OVERRUN: u16 = 4008;

/// What a socket is for.
pub(super) enum Purpose {
    /// Stock, for anyone.
    Stock(StockSelection),
    /// Orders, for whoever signs in.
    Orders(SignIn),
}

/// How far a client has signed in.
pub(super) enum SignIn {
    /// It has.
    Done(Credentials),
    /// Its first message will say.
    Awaited,
    /// With a token that is no good.
    Refused,
}

/// A token that was good when it was checked.
pub(super) struct Credentials {
    /// What it says.
    pub(super) access: Access,
    /// The token, to be checked once more.
    pub(super) token: String,
}

/// Asks whether the client is still there.
#[derive(Debug, Command)]
#[rtype(result = "()")]
pub(super) struct Ping;

/// The token has expired.
#[derive(Debug, Command)]
#[rtype(result = "()")]
pub(super) struct Expire;

/// The actor of a socket. Frames come by its stream; its mailbox is the watchdog's.
pub(super) struct Session {
    shop: Shop,
    _seat: Seat,
    vitals: Arc<Vitals>,
    /// Taken when the feed starts.
    purpose: Option<Purpose>,
    since: Option<Seq>,
    feed: Option<(SpawnHandle, FeedLine)>,
    is_checking: bool,
    is_closing: bool,
    /// A text message of several frames, as far as it has come; `None` for one that is not text.
    fragments: Option<Vec<u8>>,
}

type Context = WebsocketContext<Session>;

impl Session {
    pub(super) fn new(
        shop: Shop,
        seat: Seat,
        vitals: Arc<Vitals>,
        purpose: Purpose,
        since: Option<Seq>,
    ) -> Self {
        Self {
            shop,
            _seat: seat,
            vitals,
            purpose: Some(purpose),
            since,
            feed: None,
            is_checking: false,
            is_closing: false,
            fragments: None,
        }
    }

    /// Starts what the socket is for, as far as that can be started.
    fn begin(&mut self, ctx: &mut Context) {
        match self.purpose.take() {
            Some(Purpose::Stock(selection)) => {
                let subscription = self.shop.feed.watch_stock(selection, self.since);
                self.follow(subscription, None, ctx);
            }
            Some(Purpose::Orders(SignIn::Done(credentials))) => self.begin_orders(credentials, ctx),
            Some(Purpose::Orders(SignIn::Awaited)) => {
                ctx.run_later(SIGN_IN_PATIENCE, |session, ctx| {
                    if session.feed.is_none() && !session.is_checking {
                        session.close(SIGNED_OUT, "sign in within 5 seconds", ctx);
                    }
                });
            }
            Some(Purpose::Orders(SignIn::Refused)) => self.close(SIGNED_OUT, "the token is no good", ctx),
            None => {}
        }
    }

    fn begin_orders(&mut self, Credentials { access, token }: Credentials, ctx: &mut Context) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = Duration::from_secs(u64::try_from(access.expires_at).unwrap_or_default());
        self.vitals.expire_in(end.saturating_sub(now));
        let subscription = self.shop.feed.watch_orders(access.principal, self.since);
        let check = Check { accounts: self.shop.accounts.clone(), token };
        self.follow(subscription, Some(check), ctx);
    }

    fn follow(&mut self, subscription: Subscription, check: Option<Check>, ctx: &mut Context) {
        let line = subscription.line();
        self.vitals.follow(line.clone());
        self.feed = Some((ctx.add_stream(parts(subscription, check)), line));
    }

    /// Checks the token of a first message.
    fn sign_in(&mut self, token: String, ctx: &mut Context) {
        if self.feed.is_some() || self.is_checking {
            ctx.text(error_frame("This socket is open already; it needs no sign-in."));
            return;
        }
        self.is_checking = true;
        let accounts = self.shop.accounts.clone();
        let check = async move {
            let result = accounts.verify_access(&token).await;
            result.map(|access| Credentials { access, token })
        };
        ctx.spawn(check.into_actor(self).map(|result, session, ctx| {
            session.is_checking = false;
            match result {
                _ if session.is_closing => {}
                Ok(credentials) => session.begin_orders(credentials, ctx),
                Err(error) => session.end(ending_of(error), ctx),
            }
        }));
    }

    fn hear(&mut self, text: &str, ctx: &mut Context) {
        let request = match message::parse(text) {
            Ok(ClientMessage::Auth(token)) => return self.sign_in(token, ctx),
            Ok(ClientMessage::Feed(request)) => request,
            Err(detail) => return ctx.text(error_frame(&detail)),
        };
        match &self.feed {
            None => ctx.text(error_frame("Sign in first.")),
            Some((_, feed)) => {
                if !feed.ask(request) {
                    ctx.text(error_frame("Too many requests at once; wait for their answers."));
                }
            }
        }
    }

    fn hear_fragment(&mut self, fragment: Item, ctx: &mut Context) {
        let (bytes, is_last) = match fragment {
            Item::FirstText(bytes) => {
                self.fragments = Some(Vec::new());
                (bytes, false)
            }
            Item::FirstBinary(_) => {
                self.fragments = None;
                return;
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(message) = &mut self.fragments else {
            if is_last {
                ctx.text(error_frame("Messages are text."));
            }
            return;
        };
        if message.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return self.fail(CloseCode::Size, "the message is too long", ctx);
        }
        message.extend_from_slice(&bytes);
        if is_last {
            let message = self.fragments.take().unwrap_or_default();
            match std::str::from_utf8(&message) {
                Ok(text) => self.hear(text, ctx),
                Err(_) => self.fail(CloseCode::Invalid, "the message is not UTF-8", ctx),
            }
        }
    }

    fn end(&mut self, ending: Ending, ctx: &mut Context) {
        match ending {
            Ending::SignedOut => self.close(SIGNED_OUT, "signed out", ctx),
            Ending::Overrun => self.close(OVERRUN, "too slow; resume", ctx),
            Ending::GoingAway => self.close(u16::from(CloseCode::Away), "the shop is stopping", ctx),
            Ending::Unavailable => self.close(u16::from(CloseCode::Again), "try again later", ctx),
        }
    }

    /// Sends the close and leaves the client a moment to answer it.
    fn close(&mut self, code: u16, description: &str, ctx: &mut Context) {
        if self.is_closing {
            return;
        }
        self.is_closing = true;
        self.vitals.close();
        if let Some((handle, _)) = self.feed.take() {
            ctx.cancel_future(handle);
        }
        metrics::counter!("emporium_sockets_closed_total", "code" => code.to_string()).increment(1);
        ctx.close(Some(CloseReason {
            code: CloseCode::from(code),
            description: Some(description.to_owned()),
        }));
        ctx.run_later(CLOSE_PATIENCE, |_, ctx| ctx.stop());
    }

    /// Closes a connection on which nothing sensible can follow.
    fn fail(&mut self, code: CloseCode, description: &str, ctx: &mut Context) {
        self.close(u16::from(code), description, ctx);
        ctx.stop();
    }
}

/// A token to be checked once the subscription is known to the hub: its session may have ended after
/// the first check and before that.
struct Check {
    accounts: Accounts,
    token: String,
}

/// A subscription as a stream. Before a part it lets the server look whether the connection has room; see
/// the module. Not so after a single frame: with that the outbox was empty, so that next comes a wait.
fn parts(subscription: Subscription, check: Option<Check>) -> impl Stream<Item = FeedPart> {
    stream::unfold(Some((subscription, check, false)), |state| async {
        let (mut subscription, mut check, is_about_to_wait) = state?;
        if !is_about_to_wait {
            tokio::task::yield_now().await;
        }
        let refusal = match check.take() {
            Some(check) => Box::pin(join(&mut subscription, check)).await.err(),
            None => None,
        };
        let part = match refusal {
            Some(ending) => FeedPart::End(ending),
            None => subscription.next().await,
        };
        let rest = match &part {
            FeedPart::Frames(frames) => Some((subscription, None, frames.len() == 1)),
            FeedPart::End(_) => None,
        };
        Some((part, rest))
    })
}

async fn join(subscription: &mut Subscription, Check { accounts, token }: Check) -> Result<(), Ending> {
    subscription.join().await;
    accounts.verify_access(&token).await.map(drop).map_err(ending_of)
}

/// A refused token signs out; a database out of reach is nobody's fault.
fn ending_of(error: AccountError) -> Ending {
    let status = ApiError::from(error).status_code();
    if status == StatusCode::UNAUTHORIZED { Ending::SignedOut } else { Ending::Unavailable }
}

impl Actor for Session {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        self.begin(ctx);
    }
}

// Every handler runs to its end without waiting, so none interleaves with another.

impl Handler<Ping> for Session {
    type Result = ();

    fn handle(&mut self, Ping: Ping, ctx: &mut Context) {
        if !self.is_closing {
            ctx.ping(b"");
        }
    }
}

impl Handler<Expire> for Session {
    type Result = ();

    fn handle(&mut self, Expire: Expire, ctx: &mut Context) {
        self.close(SIGNED_OUT, "the token has expired", ctx);
    }
}

impl StreamHandler<FeedPart> for Session {
    fn handle(&mut self, part: FeedPart, ctx: &mut Context) {
        match part {
            _ if self.is_closing => {}
            FeedPart::Frames(frames) => frames.into_iter().for_each(|frame| ctx.text(frame)),
            FeedPart::End(ending) => self.end(ending, ctx),
        }
    }

    fn finished(&mut self, _: &mut Context) {
        // Its last part has begun the close.
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Session {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Context) {
        self.vitals.hear();
        match message {
            Ok(Message::Close(reason)) => {
                if !self.is_closing {
                    self.is_closing = true;
                    self.vitals.close();
                    ctx.close(reason);
                }
                ctx.stop();
            }
            Ok(_) if self.is_closing => {}
            Ok(Message::Text(text)) => self.hear(&text, ctx),
            Ok(Message::Continuation(fragment)) => self.hear_fragment(fragment, ctx),
            Ok(Message::Binary(_)) => ctx.text(error_frame("Messages are text.")),
            Ok(Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Err(ProtocolError::Overflow) => self.fail(CloseCode::Size, "the message is too long", ctx),
            Err(ProtocolError::Io(_)) => ctx.stop(),
            Err(_) => self.fail(CloseCode::Protocol, "not WebSocket", ctx),
        }
    }
}
