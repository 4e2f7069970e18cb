//! One socket's feed, from the first frame on.
//!
//! A subscription is pulled: its socket asks for the next frames when it can take some, so what is
//! read from the table (a snapshot, what a resuming client missed) waits for a slow reader a page at
//! a time, and what comes live waits in the outbox, which is bounded.
//!
//! Gap-free, because it is first in the hub's books and then reads the table together with the
//! log's position S, in one statement: the hub only ever has committed events, so what is live but
//! not in the outbox is at or before S; and what is in the outbox at or before S is dropped.
//!
//! The frames of a feed:
//! * fresh: `ready` with S, for stock (but not for `all`) `snapshot` with S, then each event after S.
//!   A snapshot of more than 1,000 products comes in several frames of the same number with nothing
//!   between them; all but the last say `"more":true`.
//! * resumed after N: `ready` with N, then each event after N. So `ready` always names the number
//!   after which nothing is left out, and numbers only grow.
//! * resumed after an N that is not kept, or has not been reached: `ready` and `reset` with S, then
//!   on as when fresh.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytestring::ByteString;

use super::messages::{Follow, Interest, Join, Leave, SubscriberId};
use super::outbox::{Ending, Frame, Outbox, Taken};
use super::store::{self, Missed, Shelves, StockOf};
use super::{Hub, frame};
use crate::db::StoreError;
use crate::types::{CategoryId, Principal, ProductId, Seq, UserId};

/// The most products that a socket may name.
pub const PRODUCTS_MAX: usize = 1000;
/// The most categories that a socket may name.
pub const CATEGORIES_MAX: usize = 100;

/// Frames handed out at a time; the server keeps room for as many, so they cost memory per socket.
const FRAMES_MAX: usize = 64;
/// A feed of stock whose client missed more events than this starts afresh: cheaper for everybody.
const STOCK_RESUME_MAX: i64 = 1_000_000;
/// The longest wait for this node to have read what a snapshot already shows.
const READER_PATIENCE: Duration = Duration::from_secs(5);

/// What stock a socket asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockSelection {
    /// These products, at most [`PRODUCTS_MAX`]; may be changed while the socket is open.
    Products(BTreeSet<ProductId>),
    /// The products of these categories, at most [`CATEGORIES_MAX`]; also those that join later.
    Categories(Vec<CategoryId>),
    /// Everything.
    All,
}

/// Whose orders a socket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderSelection {
    Of(UserId),
    All,
}

#[derive(Debug)]
pub(super) enum Selection {
    Stock(StockSelection),
    Orders(OrderSelection),
}

/// What a client asks of its open feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedRequest {
    /// More products.
    Subscribe(Vec<ProductId>),
    /// Fewer products.
    Unsubscribe(Vec<ProductId>),
    /// What came after this number.
    Resume(Seq),
}

/// The next part of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedPart {
    /// Frames to be sent, in this order.
    Frames(Vec<ByteString>),
    /// Nothing more comes.
    End(Ending),
}

/// What a socket knows of its subscription while that waits for the next frames. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FeedLine(Arc<Outbox>);

impl FeedLine {
    /// Passes a request on; `false` when too many wait for their turn already.
    #[must_use]
    pub fn ask(&self, request: FeedRequest) -> bool {
        self.0.ask(request)
    }

    /// Why the feed has ended, if it has. What it ended with may not have been sent yet.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.0.ending()
    }
}

/// One socket's feed; see the module. Dropping it leaves the hub.
///
/// Everything but waiting for the next frames happens in futures of their own (`Box::pin`), so that
/// the many sockets that wait need no room for it.
pub struct Subscription {
    hub: Arc<Hub>,
    id: SubscriberId,
    outbox: Arc<Outbox>,
    selection: Selection,
    /// Whose it is, where that matters.
    principal: Option<Principal>,
    has_joined: bool,
    phase: Phase,
    /// Everything at or before this has been sent or superseded.
    delivered: Seq,
    /// The number that the snapshot carries.
    opened_at: Seq,
    /// For a snapshot of several pages: the last product of each page, and the position it showed.
    shown: Vec<(ProductId, Seq)>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing sent yet.
    Opening { since: Option<Seq> },
    /// Reading what was missed, up to `through`; `is_followed` once the hub fills the outbox.
    CatchingUp { through: Seq, is_followed: bool },
    /// In the middle of a snapshot, after this product.
    Showing { after: ProductId },
    /// Sending what the hub puts into the outbox.
    Live,
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Hub>,
        id: SubscriberId,
        outbox: Outbox,
        selection: Selection,
        principal: Option<Principal>,
        since: Option<Seq>,
    ) -> Self {
        if matches!(selection, Selection::Stock(StockSelection::Categories(_))) {
            hub.category_followers.fetch_add(1, Ordering::SeqCst);
        }
        Self {
            hub,
            id,
            outbox: Arc::new(outbox),
            selection,
            principal,
            has_joined: false,
            phase: Phase::Opening { since },
            delivered: Seq(0),
            opened_at: Seq(0),
            shown: Vec::new(),
        }
    }

    /// For whoever has to reach it while it waits.
    #[must_use]
    pub fn line(&self) -> FeedLine {
        FeedLine(self.outbox.clone())
    }

    /// Makes it known, so that the end of its session reaches it. Done by itself before the first
    /// frames, if not before.
    pub async fn join(&mut self) {
        if std::mem::replace(&mut self.has_joined, true) {
            return;
        }
        let join = Join { id: self.id, outbox: self.outbox.clone(), principal: self.principal };
        if self.hub.actor.send(join).await.is_err() {
            self.outbox.end(Ending::GoingAway);
        }
    }

    /// Waits for the next frames, or for the end. Not to be dropped half-way and called again.
    pub async fn next(&mut self) -> FeedPart {
        loop {
            if let Some(ending) = self.outbox.ending() {
                return FeedPart::End(ending);
            }
            let step = match self.phase {
                Phase::Live => self.live().await,
                _ => Box::pin(self.read()).await,
            };
            match step {
                Ok(FeedPart::Frames(frames)) if frames.is_empty() => {}
                Ok(part) => return part,
                Err(error) => {
                    tracing::warn!(%error, "a feed ends, since the database does not answer");
                    return FeedPart::End(Ending::Unavailable);
                }
            }
        }
    }

    /// What comes before it is live.
    async fn read(&mut self) -> Result<FeedPart, StoreError> {
        self.join().await;
        match self.phase {
            Phase::Opening { since: None } => self.open(vec![], true).await,
            Phase::Opening { since: Some(since) } => self.reopen(since, true).await,
            Phase::CatchingUp { through, is_followed } => self.catch_up(through, is_followed).await,
            Phase::Showing { after } => self.show_on(after).await,
            Phase::Live => Ok(FeedPart::Frames(vec![])),
        }
    }

    /// Starts afresh; `first` goes between `ready` and the snapshot.
    async fn open(&mut self, first: Vec<Greeting>, is_greeted: bool) -> Result<FeedPart, StoreError> {
        self.follow(self.interest()).await;
        self.phase = Phase::Live;
        self.shown.clear();
        let shelves = match &self.selection {
            Selection::Stock(StockSelection::Products(products)) => {
                let products: Vec<ProductId> = products.iter().copied().collect();
                Some(self.hub.shelves_of_products(&products).await?)
            }
            Selection::Stock(StockSelection::Categories(categories)) => {
                Some(self.hub.shelves_of_categories(categories, ProductId(0)).await?)
            }
            Selection::Stock(StockSelection::All) | Selection::Orders(_) => None,
        };
        let seq = match &shelves {
            Some(shelves) => shelves.seq,
            None => self.hub.bounds().await?.0,
        };
        self.delivered = seq;
        self.opened_at = seq;
        let mut frames = Vec::new();
        if is_greeted {
            frames.push(frame::ready(seq));
        }
        frames.extend(first.iter().map(|Greeting::Reset| frame::reset(seq)));
        if let Some(shelves) = shelves {
            frames.push(frame::snapshot(seq, &shelves.list, shelves.has_more));
            self.note_page(&shelves);
        }
        Ok(FeedPart::Frames(frames))
    }

    /// The next page of a snapshot. It shows the products as of a later moment than the first page,
    /// but carries the first page's number: after that number nothing is left out, whereas events
    /// between the two are still to come for the products of the earlier pages.
    async fn show_on(&mut self, after: ProductId) -> Result<FeedPart, StoreError> {
        let Selection::Stock(StockSelection::Categories(categories)) = &self.selection else {
            self.phase = Phase::Live;
            return Ok(FeedPart::Frames(vec![]));
        };
        let shelves = self.hub.shelves_of_categories(categories, after).await?;
        self.phase = Phase::Live;
        self.note_page(&shelves);
        // Even where those that were to follow are gone by now: the page before has promised one.
        Ok(FeedPart::Frames(vec![frame::snapshot(self.opened_at, &shelves.list, shelves.has_more)]))
    }

    fn note_page(&mut self, Shelves { seq, list, has_more }: &Shelves) {
        if let (Selection::Stock(StockSelection::Categories(_)), Some(last)) = (&self.selection, list.last())
        {
            self.shown.push((last.product, *seq));
            if *has_more {
                self.phase = Phase::Showing { after: last.product };
            }
        }
    }

    /// Starts where an earlier feed left off.
    async fn reopen(&mut self, since: Seq, is_greeted: bool) -> Result<FeedPart, StoreError> {
        let (last, first) = self.hub.bounds().await?;
        let missed = last.0.saturating_sub(since.0);
        let is_stock = matches!(self.selection, Selection::Stock(_));
        if since > last || since.0 < first.0 - 1 || (is_stock && missed > STOCK_RESUME_MAX) {
            return self.open(vec![Greeting::Reset], is_greeted).await;
        }
        self.delivered = since;
        self.shown.clear();
        self.phase = Phase::CatchingUp { through: last, is_followed: false };
        Ok(FeedPart::Frames(if is_greeted { vec![frame::ready(since)] } else { vec![] }))
    }

    /// The next page of what was missed. The hub begins to fill the outbox only when the table has
    /// been read up to now, so that however much was missed, the outbox need not hold it.
    async fn catch_up(&mut self, through: Seq, is_followed: bool) -> Result<FeedPart, StoreError> {
        let after = self.delivered;
        if after >= through {
            if is_followed {
                self.phase = Phase::Live;
            } else {
                self.follow(self.interest()).await;
                let through = self.hub.bounds().await?.0;
                self.phase = Phase::CatchingUp { through, is_followed: true };
            }
            return Ok(FeedPart::Frames(vec![]));
        }
        let Missed { events, through } = match &self.selection {
            Selection::Orders(of) => self.hub.order_events(after, through, *of).await?,
            Selection::Stock(of) => self.hub.stock_changes(after, through, of).await?,
        };
        if self.hub.bounds().await?.1.0 > after.0 + 1 {
            // Pruned in the meantime, so the page may lack some.
            return self.open(vec![Greeting::Reset], false).await;
        }
        self.delivered = through;
        Ok(FeedPart::Frames(events.iter().filter_map(frame::event).collect()))
    }

    async fn live(&mut self) -> Result<FeedPart, StoreError> {
        match poll_fn(|cx| self.outbox.poll_take(cx, FRAMES_MAX)).await {
            Taken::Frames(frames) => Ok(FeedPart::Frames(self.send(&frames))),
            Taken::Request(request) => Box::pin(self.answer(request)).await,
            Taken::Behind => Box::pin(self.restart(self.delivered, false)).await,
            Taken::End(ending) => Ok(FeedPart::End(ending)),
        }
    }

    /// Leaves out what the snapshot, or a page of the log, has shown already.
    fn send(&mut self, frames: &[Arc<Frame>]) -> Vec<ByteString> {
        let mut texts = Vec::with_capacity(frames.len());
        for frame in frames {
            if frame.seq <= self.delivered {
                continue;
            }
            self.delivered = frame.seq;
            if !self.is_shown(frame) {
                texts.push(frame.text.clone());
            }
        }
        if self.shown.last().is_some_and(|(_, seq)| *seq < self.delivered) {
            self.shown.clear();
        }
        texts
    }

    fn is_shown(&self, frame: &Frame) -> bool {
        let Some(product) = frame.product else { return false };
        let page = self.shown.partition_point(|(last, _)| *last < product);
        self.shown.get(page).is_some_and(|(_, seq)| frame.seq <= *seq)
    }

    async fn answer(&mut self, request: FeedRequest) -> Result<FeedPart, StoreError> {
        match request {
            FeedRequest::Subscribe(products) => self.subscribe(products).await,
            FeedRequest::Unsubscribe(products) => Ok(FeedPart::Frames(self.unsubscribe(&products).await)),
            FeedRequest::Resume(since) => self.restart(since, true).await,
        }
    }

    async fn restart(&mut self, since: Seq, is_greeted: bool) -> Result<FeedPart, StoreError> {
        self.follow(Interest::Nothing).await;
        self.outbox.clear();
        self.reopen(since, is_greeted).await
    }

    /// Adds products. What is under way of the old ones goes out first, so that numbers only grow.
    async fn subscribe(&mut self, asked: Vec<ProductId>) -> Result<FeedPart, StoreError> {
        let Selection::Stock(StockSelection::Products(products)) = &mut self.selection else {
            return Ok(FeedPart::Frames(vec![frame::error(NOT_BY_PRODUCT)]));
        };
        let new: BTreeSet<ProductId> = asked.into_iter().filter(|id| !products.contains(id)).collect();
        if products.len() + new.len() > PRODUCTS_MAX {
            return Ok(FeedPart::Frames(vec![frame::error("A socket can follow at most 1000 products.")]));
        }
        products.extend(&new);
        self.follow(self.interest()).await;
        let list: Vec<ProductId> = new.iter().copied().collect();
        let Shelves { seq, list, .. } = self.hub.shelves_of_products(&list).await?;
        self.hub.wait_for(seq, READER_PATIENCE).await?;
        let mut under_way = self.outbox.take_up_to(seq);
        under_way.retain(|frame| frame.product.is_none_or(|product| !new.contains(&product)));
        let mut frames = self.send(&under_way);
        self.delivered = self.delivered.max(seq);
        frames.push(frame::subscribed(seq, self.products()));
        frames.push(frame::snapshot(seq, &list, false));
        Ok(FeedPart::Frames(frames))
    }

    async fn unsubscribe(&mut self, asked: &[ProductId]) -> Vec<ByteString> {
        let Selection::Stock(StockSelection::Products(products)) = &mut self.selection else {
            return vec![frame::error(NOT_BY_PRODUCT)];
        };
        products.retain(|id| !asked.contains(id));
        self.follow(self.interest()).await;
        for product in asked {
            self.outbox.drop_product(*product);
        }
        vec![frame::subscribed(self.delivered, self.products())]
    }

    fn products(&self) -> impl Iterator<Item = ProductId> + '_ {
        let products = match &self.selection {
            Selection::Stock(StockSelection::Products(products)) => Some(products),
            _ => None,
        };
        products.into_iter().flatten().copied()
    }

    fn interest(&self) -> Interest {
        match &self.selection {
            Selection::Stock(StockSelection::Products(products)) => {
                Interest::Products(products.iter().copied().collect())
            }
            Selection::Stock(StockSelection::Categories(categories)) => {
                Interest::Categories(categories.clone())
            }
            Selection::Stock(StockSelection::All) => Interest::EveryProduct,
            Selection::Orders(OrderSelection::Of(user)) => Interest::OrdersOf(*user),
            Selection::Orders(OrderSelection::All) => Interest::EveryOrder,
        }
    }

    async fn follow(&self, interest: Interest) {
        if self.hub.actor.send(Follow { id: self.id, interest }).await.is_err() {
            // No hub, no events: better no socket than a silent one.
            self.outbox.end(Ending::GoingAway);
        }
    }
}

/// What stands between `ready` and what follows.
#[derive(Clone, Copy)]
enum Greeting {
    Reset,
}

const NOT_BY_PRODUCT: &str = "Only a socket that was opened with products can change them.";

impl Drop for Subscription {
    fn drop(&mut self) {
        if matches!(self.selection, Selection::Stock(StockSelection::Categories(_))) {
            self.hub.category_followers.fetch_sub(1, Ordering::SeqCst);
        }
        // Should the mailbox be full, the hub finds it marked on its next sweep.
        self.outbox.leave();
        self.outbox.clear();
        let _ = self.hub.actor.try_send(Leave(self.id));
    }
}

impl Hub {
    async fn bounds(&self) -> Result<(Seq, Seq), StoreError> {
        let (_turn, client) = self.client("feed/get_bounds.sql").await?;
        store::bounds(&client).await
    }

    async fn shelves_of_products(&self, products: &[ProductId]) -> Result<Shelves, StoreError> {
        let (_turn, client) = self.client("feed/list_stock_by_product.sql").await?;
        store::shelves_of_products(&client, products).await
    }

    async fn shelves_of_categories(
        &self,
        categories: &[CategoryId],
        after: ProductId,
    ) -> Result<Shelves, StoreError> {
        let (_turn, client) = self.client("feed/list_stock_by_category.sql").await?;
        store::shelves_of_categories(&client, categories, after).await
    }

    async fn order_events(&self, after: Seq, through: Seq, of: OrderSelection) -> Result<Missed, StoreError> {
        let (_turn, client) = self.client("feed/list_order_events.sql").await?;
        let user = match of {
            OrderSelection::Of(user) => Some(user),
            OrderSelection::All => None,
        };
        store::order_events(&client, after, through, user).await
    }

    async fn stock_changes(
        &self,
        after: Seq,
        through: Seq,
        of: &StockSelection,
    ) -> Result<Missed, StoreError> {
        let (_turn, client) = self.client("feed/list_stock_changes.sql").await?;
        match of {
            StockSelection::All => store::stock_changes(&client, after, through, StockOf::Every).await,
            StockSelection::Products(products) => {
                let products: Vec<ProductId> = products.iter().copied().collect();
                store::stock_changes(&client, after, through, StockOf::Products(&products)).await
            }
            StockSelection::Categories(categories) => {
                store::stock_changes(&client, after, through, StockOf::Categories(categories)).await
            }
        }
    }
}
