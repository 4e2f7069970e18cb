//! The whole shop, put together: services and actors wired to one database.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter};
use tokio::sync::Notify;

use crate::accounts::{AccountSettings, Accounts, SessionBook};
use crate::audit::Audit;
use crate::cart::{CartSettings, Carts};
use crate::catalog::{Catalog, CatalogCache, CatalogSettings, CursorSeal};
use crate::db::{ConnectError, Database, StoreError};
use crate::feed::{Announcer, Feed, FeedSettings, Listeners};
use crate::import::Imports;
use crate::inventory::{Inventory, InventorySettings, SoldOut, Trade};
use crate::limits::{LimitSettings, Limits};
use crate::mailer::{MailerActor, MailerSettings, StopMailer};
use crate::nodes::{Nodes, Pulse};
use crate::orders::{OrderActor, OrderDesk, OrderSettings};
use crate::redis::Redis;

/// How long the mailer may take to finish the letters in hand when the shop stops.
const MAILER_PATIENCE: Duration = Duration::from_secs(3);

/// Everything that can be set about a shop, area by area.
#[derive(Clone, Debug)]
pub struct ShopSettings {
    /// Sign-in.
    pub accounts: AccountSettings,
    /// Reading the catalogue.
    pub catalog: CatalogSettings,
    /// Carts.
    pub carts: CartSettings,
    /// Orders.
    pub orders: OrderSettings,
    /// Batches.
    pub inventory: InventorySettings,
    /// The event log and its sockets.
    pub feed: FeedSettings,
    /// How often one client may ask.
    pub limits: LimitSettings,
    /// Redis, for the catalogue's cache and the limits' counters to be shared between nodes; each
    /// process has its own without one.
    pub redis_url: Option<String>,
    /// Mail; `None` in commands that must not send any.
    pub mailer: Option<MailerSettings>,
}

/// Why a shop could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Reading what the shop needs to know before it opens.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mail settings are no good.
    #[error("cannot send mail: {0}")]
    Mail(String),
}

/// A running shop. Cheap to clone; must be started within an actix system.
#[derive(Clone)]
pub struct Shop {
    /// Registration, sign-in, sessions.
    pub accounts: Accounts,
    /// Categories and products.
    pub catalog: Catalog,
    /// Bringing a catalogue in, and out.
    pub imports: Imports,
    /// The carts in use.
    pub carts: Carts,
    /// Orders.
    pub orders: Addr<OrderActor>,
    /// Orders whose holds have run out.
    expiry: Addr<OrderActor>,
    order_desk: OrderDesk,
    /// Everything that changes a stock.
    pub inventory: Inventory,
    /// The event log as this node has read it.
    pub feed: Feed,
    /// How often one client may ask.
    pub limits: Limits,
    /// The conservation check.
    pub audit: Audit,
    /// The nodes, this one among them once it has joined.
    pub nodes: Nodes,
    /// The database.
    pub database: Arc<Database>,
    mailer: Option<Addr<MailerActor>>,
}

impl Shop {
    /// Puts the shop together on a migrated database.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: ShopSettings, database: Arc<Database>) -> Result<Self, StartError> {
        let db = database.db();
        let redis = match &settings.redis_url {
            Some(url) => Redis::open(url, &database).await?,
            None => None,
        };
        let limits = Limits::new(&settings.limits, redis.as_ref());
        let cache =
            Arc::new(CatalogCache::open(&settings.catalog, redis.as_ref(), &settings.accounts.jwt_secret));
        let seal = CursorSeal::new(&settings.accounts.jwt_secret);
        let book = Arc::new(SessionBook::default());
        let sold_out = Arc::new(SoldOut::default());
        let trade = Arc::new(Trade::default());
        let listeners = Listeners(Arc::new([
            cache.clone() as _,
            book.clone() as _,
            sold_out.clone() as _,
            trade.clone() as _,
        ]));
        let wake = Arc::new(Notify::new());
        let reset_asked = Arc::new(Notify::new());
        let announcer = Announcer::new(listeners.clone(), wake.clone());

        let feed = Feed::start(database.clone(), listeners, wake, settings.feed).await?;
        let accounts =
            Accounts::start(db.clone(), announcer.clone(), book, reset_asked.clone(), settings.accounts)
                .await?;
        let pulse = Arc::new(Pulse::default());
        let nodes = Nodes::new(&database, feed.clone(), pulse.clone())?;
        // The actors of a checkout share a thread: from one to the next is a push, not a wake.
        let checkout = Arbiter::new().handle();
        let inventory =
            Inventory::launch(&database, announcer.clone(), pulse, trade, &settings.inventory, &checkout)?;
        let order_desk =
            OrderDesk { db: db.clone(), sold_out, inventory: inventory.clone(), settings: settings.orders };
        let orders = OrderActor::launch(order_desk.clone(), &checkout);
        let carts = Carts::new(db.clone(), orders.clone(), &settings.carts, checkout);
        let catalog = Catalog::new(&database, announcer, cache, seal, inventory.clone());
        let imports = Imports::new(&database, catalog.clone(), inventory.clone())?;
        let mailer = match settings.mailer {
            Some(settings) => {
                let mailer = MailerActor::launch(db.clone(), &feed, reset_asked, settings);
                Some(mailer.map_err(StartError::Mail)?)
            }
            None => None,
        };
        let audit = Audit::new(db);
        Ok(Self {
            accounts,
            catalog,
            imports,
            carts,
            expiry: orders.clone(),
            orders,
            order_desk,
            inventory,
            feed,
            limits,
            audit,
            nodes,
            database,
            mailer,
        })
    }

    /// The same shop, for those who ask on this thread.
    #[must_use]
    pub fn on_this_thread(&self) -> Self {
        Self { orders: OrderActor::launch_here(self.order_desk.clone()), ..self.clone() }
    }

    /// Closes the feeds and lets what is under way finish.
    pub async fn stop(&self) {
        self.imports.stop();
        self.feed.stop().await;
        if let Some(mailer) = &self.mailer {
            // A mail server may be slow; what is not sent now, the next node to hold the lease sends.
            let _ = tokio::time::timeout(MAILER_PATIENCE, mailer.send(StopMailer)).await;
        }
        self.nodes.stop().await;
    }

    /// Whether every actor still takes messages; actix does not restart one that has panicked.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.orders.connected()
            && self.expiry.connected()
            && self.inventory.is_alive()
            && self.mailer.as_ref().is_none_or(Addr::connected)
    }
}
