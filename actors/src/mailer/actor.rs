//! Sends the confirmations, one node at a time, and lets the links for new passwords be sent.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler, WrapFuture};
use futures_util::future::{join, join_all};
use lettre::message::Mailbox;
use tokio::sync::{Notify, oneshot, watch};

use super::letter::{self, Confirmation};
use super::messages::StopMailer;
use super::post::{LETTERS_AT_ONCE, Outcome, Post};
use super::resets::Resets;
use super::{MailerSettings, post, store};
use crate::db::{Db, StoreError};
use crate::feed::Feed;
use crate::types::Seq;

/// Orders read at a time.
const PAGE_ORDERS: i64 = 100;
/// Events looked through at a time, so that a page costs the same however far behind the mailer is.
const STRETCH_EVENTS: i64 = 1000;
/// The most at a time: they double with each stretch that has no order, such as an import leaves.
const STRETCH_EVENTS_MAX: i64 = 64_000;
/// The least time between two pages: a mailer that has much to catch up with leaves the machine to
/// those who buy or import.
const PAGE_PAUSE: Duration = Duration::from_millis(100);
/// The rest after every [`LETTERS_AT_ONCE`] letters in a rush, which is when the log grows by more than
/// [`STRETCH_EVENTS`] from one page to the next. No pace of letters keeps up with that, and each that is written
/// then is taken from the sale: a few at a time, lest whoever orders meanwhile waits for a hundred.
const RUSH_REST: Duration = Duration::from_millis(40);
/// How often a node without the lease asks for it; a third of how long it lasts.
const LEASE_INTERVAL: Duration = Duration::from_secs(10);
/// The longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Follows the event log as the consumer `mailer`, and the requests for new passwords. Its work is
/// two long tasks, on a thread of its own; the messages only end them.
pub struct MailerActor {
    work: Option<(Mailer, Resets)>,
    stop: watch::Sender<bool>,
    stopped: Vec<oneshot::Sender<()>>,
}

impl MailerActor {
    /// Starts it on a thread of its own; `reset_asked` wakes it for a request made on this node.
    ///
    /// # Errors
    /// When the settings are no good: the sender's address, the SMTP URL, or the folder. The text is
    /// for whoever operates the shop, and repeats no secret.
    pub fn launch(
        db: Db,
        feed: &Feed,
        reset_asked: Arc<Notify>,
        settings: MailerSettings,
    ) -> Result<Addr<Self>, String> {
        let (stop, stopping) = watch::channel(false);
        let (from, post) = (post::sender(&settings)?, Arc::new(Post::new(&settings)?));
        let resets = Resets {
            db: db.clone(),
            from: from.clone(),
            post: post.clone(),
            url: settings.reset_url,
            asked: reset_asked,
            stopping: stopping.clone(),
        };
        let mailer = Mailer {
            db,
            node: format!("{:016x}", rand::random::<u64>()),
            from,
            post,
            position: feed.position(),
            seen: *feed.position().borrow(),
            stretch: STRETCH_EVENTS,
            stopping,
        };
        let actor = Self { work: Some((mailer, resets)), stop, stopped: Vec::new() };
        Ok(Self::start_in_arbiter(&Arbiter::new().handle(), |_| actor))
    }
}

impl Actor for MailerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((mailer, resets)) = self.work.take() else { return };
        ctx.spawn(join(mailer.work(), resets.work()).into_actor(self).map(|_, actor, ctx| {
            actor.stopped.drain(..).for_each(|stopped| {
                let _ = stopped.send(());
            });
            ctx.stop();
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.stop();
        }
    }
}

impl Handler<StopMailer> for MailerActor {
    type Result = actix::ResponseFuture<()>;

    // May interleave: it only rings the bell and waits outside.
    fn handle(&mut self, _: StopMailer, _: &mut Self::Context) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        self.stopped.push(sender);
        self.stop.send_replace(true);
        Box::pin(async {
            let _ = stopped.await;
        })
    }
}

/// What the task that follows the event log works with.
struct Mailer {
    db: Db,
    /// Names this process in the lease.
    node: String,
    from: Mailbox,
    post: Arc<Post>,
    position: watch::Receiver<Seq>,
    /// How far the log went when the last page was read.
    seen: Seq,
    /// How many events the next page looks through.
    stretch: i64,
    stopping: watch::Receiver<bool>,
}

/// Why a round ended early.
enum Interrupted {
    /// The database.
    Store(StoreError),
    /// Another node sends now.
    LostLease,
    /// The shop stops.
    Stopping,
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Mailer {
    async fn work(mut self) {
        let mut failures = 0;
        while !*self.stopping.borrow() {
            let pause = match self.round().await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(Interrupted::LostLease) => LEASE_INTERVAL,
                Err(Interrupted::Stopping) => break,
                Err(Interrupted::Store(error)) => {
                    failures += 1;
                    tracing::warn!(%error, "the mailer cannot reach its orders; it will try again");
                    backoff(failures)
                }
            };
            self.pause(pause).await;
        }
        if let Ok(client) = self.db.client("mailer/drop_lease.sql").await {
            let _ = store::drop_lease(&client, &self.node).await;
        }
    }

    /// Deals with one page, and says how long to wait before the next.
    async fn round(&mut self) -> Result<Duration, Interrupted> {
        let client = self.db.client("mailer/take_lease.sql").await?;
        let Some(after) = store::take_lease(&client, &self.node).await? else { return Ok(LEASE_INTERVAL) };
        let through = *self.position.borrow_and_update();
        if through <= after {
            drop(client);
            self.wait_for_news().await;
            return Ok(PAGE_PAUSE);
        }
        let rest = rest_after(through.0 - std::mem::replace(&mut self.seen, through).0);
        let through = through.min(Seq(after.0.saturating_add(self.stretch)));
        let orders = store::placed_orders(&client, after, through, PAGE_ORDERS).await?;
        drop(client);
        self.stretch = next_stretch(self.stretch, orders.len());
        let is_last = orders.len() < usize::try_from(PAGE_ORDERS).unwrap_or(usize::MAX);
        for some in orders.chunks(LETTERS_AT_ONCE) {
            self.send_all(some).await?;
            if let Some((seq, _)) = some.last() {
                self.advance(*seq).await?;
            }
            if let Some(rest) = rest {
                self.pause(rest).await;
            }
        }
        if is_last {
            self.advance(through).await?;
        }
        Ok(PAGE_PAUSE)
    }

    /// Sends these letters, for as long as it takes.
    async fn send_all(&mut self, orders: &[(Seq, Confirmation)]) -> Result<(), Interrupted> {
        let mut pending: Vec<&Confirmation> = orders.iter().map(|(_, confirmation)| confirmation).collect();
        let mut failures = 0;
        loop {
            let sent = join_all(pending.iter().map(|confirmation| self.send(confirmation))).await;
            let mut results = sent.into_iter();
            pending.retain(|_| matches!(results.next(), Some(Outcome::Later)));
            if pending.is_empty() {
                return Ok(());
            }
            failures += 1;
            self.pause(backoff(failures)).await;
            if *self.stopping.borrow() {
                return Err(Interrupted::Stopping);
            }
            let client = self.db.client("mailer/take_lease.sql").await?;
            if store::take_lease(&client, &self.node).await?.is_none() {
                return Err(Interrupted::LostLease);
            }
        }
    }

    async fn send(&self, confirmation: &Confirmation) -> Outcome {
        let letter = letter::confirmation(confirmation, &self.from);
        self.post.deliver(letter, &format!("order {}", confirmation.order)).await
    }

    async fn advance(&self, seq: Seq) -> Result<(), Interrupted> {
        let client = self.db.client("mailer/advance_cursor.sql").await?;
        let is_ours = store::advance(&client, &self.node, seq).await?;
        metrics::gauge!("emporium_mailer_position").set(seq.0 as f64);
        if is_ours { Ok(()) } else { Err(Interrupted::LostLease) }
    }

    /// Until the log goes on, or the lease has to be renewed, or it is time to stop.
    async fn wait_for_news(&mut self) {
        tokio::select! {
            changed = self.position.changed() => if changed.is_err() {
                // The feed has stopped; so does the shop.
                let _ = self.stopping.changed().await;
            },
            () = tokio::time::sleep(LEASE_INTERVAL) => {}
            _ = self.stopping.changed() => {}
        }
    }

    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// How many events to look through after a stretch of so many that had so many orders.
fn next_stretch(stretch: i64, orders: usize) -> i64 {
    if orders == 0 { (stretch * 2).min(STRETCH_EVENTS_MAX) } else { STRETCH_EVENTS }
}

/// Whether to rest between letters, and how long, when the log has grown by so many events since the last page.
fn rest_after(grown: i64) -> Option<Duration> {
    (grown > STRETCH_EVENTS).then_some(RUSH_REST)
}

/// How long to wait after that many failures in a row.
pub(super) fn backoff(failures: u32) -> Duration {
    let doubled = Duration::from_millis(500).saturating_mul(1 << failures.min(8));
    doubled.min(BACKOFF_MAX).mul_f64(rand::random_range(0.75..1.0))
}
