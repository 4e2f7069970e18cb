//! One open socket.
//!
//! The session fetches from its subscription only when the connection takes bytes: the server asks
//! this actor for more only while its own write buffer has room, and after each part the feed lets
//! the server ask again. A client that does not read therefore stops its session, timers included,
//! until the connection's `TCP_USER_TIMEOUT` ends it; what it is owed waits in its bounded outbox.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, StreamHandler, WrapFuture};
use actix_http::ws::Item;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use emporium_actors::Shop;
use emporium_actors::accounts::{Access, AccountError};
use emporium_actors::feed::{Ending, FeedPart, FeedRequest, Seat, StockSelection, Subscription, error_frame};
use emporium_actors::types::Seq;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::message::{self, ClientMessage};
use super::upgrade::MESSAGE_BYTES_MAX;
use crate::http::error::ApiError;

/// How often the session looks after its connection.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often it sends a ping.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a client may take to sign in.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// Requests of one client that may wait for their turn.
const REQUESTS_MAX: usize = 16;

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

/// The actor of a socket. Its mailbox stays empty: frames come by its stream.
pub(super) struct Session {
    shop: Shop,
    _seat: Seat,
    /// Taken when the feed starts.
    purpose: Option<Purpose>,
    since: Option<Seq>,
    feed: Option<(SpawnHandle, mpsc::Sender<FeedRequest>)>,
    is_checking: bool,
    is_closing: bool,
    heard_at: Instant,
    pinged_at: Instant,
    /// A text message of several frames, as far as it has come; `None` for one that is not text.
    fragments: Option<Vec<u8>>,
}

type Context = WebsocketContext<Session>;

impl Session {
    pub(super) fn new(shop: Shop, seat: Seat, purpose: Purpose, since: Option<Seq>) -> Self {
        let now = Instant::now();
        Self {
            shop,
            _seat: seat,
            purpose: Some(purpose),
            since,
            feed: None,
            is_checking: false,
            is_closing: false,
            heard_at: now,
            pinged_at: now,
            fragments: None,
        }
    }

    /// Starts what the socket is for, as far as that can be started.
    fn begin(&mut self, ctx: &mut Context) {
        match self.purpose.take() {
            Some(Purpose::Stock(selection)) => {
                let (feed, since) = (self.shop.feed.clone(), self.since);
                let (sender, requests) = mpsc::channel(REQUESTS_MAX);
                let opening = async move { feed.watch_stock(selection, since, requests).await };
                let parts = opening.into_stream().flat_map(parts);
                self.feed = Some((ctx.add_stream(parts), sender));
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
        let (shop, since) = (self.shop.clone(), self.since);
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let opening = async move {
            let subscription = shop.feed.watch_orders(access.principal, since, requests).await;
            // The session may have ended after the token was checked and before the hub knew of us.
            match shop.accounts.verify_access(&token).await {
                Ok(_) => parts(subscription).left_stream(),
                Err(error) => stream::iter([FeedPart::End(ending_of(error))]).right_stream(),
            }
        };
        self.feed = Some((ctx.add_stream(opening.into_stream().flatten()), sender));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = Duration::from_secs(u64::try_from(access.expires_at).unwrap_or_default());
        ctx.run_later(end.saturating_sub(now), |session, ctx| {
            session.close(SIGNED_OUT, "the token has expired", ctx);
        });
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
            Some((_, requests)) => {
                if requests.try_send(request).is_err() {
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

    /// Pings, and gives up a client that has been silent for too long.
    fn look_after(&mut self, ctx: &mut Context) {
        if self.heard_at.elapsed() >= SILENCE_MAX {
            ctx.stop();
        } else if self.pinged_at.elapsed() >= PING_INTERVAL && !self.is_closing {
            self.pinged_at = Instant::now();
            ctx.ping(b"");
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

/// A subscription as a stream. Before each part it lets the server look whether the connection has
/// room; see the module.
fn parts(subscription: Subscription) -> impl Stream<Item = FeedPart> {
    stream::unfold(Some(subscription), |subscription| async {
        let mut subscription = subscription?;
        tokio::task::yield_now().await;
        let part = subscription.next().await;
        let rest = matches!(part, FeedPart::Frames(_)).then_some(subscription);
        Some((part, rest))
    })
}

/// A refused token signs out; a database out of reach is nobody's fault.
fn ending_of(error: AccountError) -> Ending {
    let status = ApiError::from(error).status_code();
    if status == StatusCode::UNAUTHORIZED { Ending::SignedOut } else { Ending::Unavailable }
}

impl Actor for Session {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        ctx.run_interval(LOOK_INTERVAL, Self::look_after);
        self.begin(ctx);
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
        self.heard_at = Instant::now();
        match message {
            Ok(Message::Close(reason)) => {
                if !self.is_closing {
                    self.is_closing = true;
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
