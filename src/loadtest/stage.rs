//! What scenarios that sell share: products and customers of their own, and the check afterwards.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hdrhistogram::CreationError;
use tokio::task::JoinError;

use super::account::{self, Account};
use super::books::Audit;
use super::client::{Client, ClientError};
use super::drive::{DriveError, Plan, Visitor, drive};
use super::goods::{Goods, GoodsError};
use super::options::{LoadArgs, ShopArgs};
use super::orders_file::OrdersFileError;
use super::receipts::{self, Against, CheckError, Receipts};
use super::recorder::Figures;
use super::report::{Report, ReportError};
use super::sockets::SocketError;
use super::usage::{Meter, Usage};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("the password of the staff account is missing; give it as ADMIN_PASSWORD or --staff-password")]
    NoPassword,
    #[error("the audit is not clean before the run; {0} products do not agree")]
    NotClean(usize),
    #[error("{0}")]
    Arguments(String),
    #[error(transparent)]
    File(#[from] OrdersFileError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Goods(#[from] GoodsError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("a client stopped: {0}")]
    Stopped(#[from] JoinError),
    #[error("cannot open a socket: {0}")]
    Socket(#[from] SocketError),
    #[error("cannot keep figures: {0}")]
    Histogram(#[from] CreationError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// A shop with the run's own products and customers in it.
pub(crate) struct Stage<'a> {
    shop: &'a ShopArgs,
    load: &'a LoadArgs,
    staff: Arc<Account>,
    audit_before: Audit,
    pub goods: Rc<Goods>,
    users: Vec<i64>,
    pub accounts: Vec<Arc<Account>>,
    /// The own books.
    pub receipts: Rc<RefCell<Receipts>>,
    /// What the run calls itself.
    pub name: String,
}

impl<'a> Stage<'a> {
    /// Makes products and customers.
    pub(crate) async fn set(
        shop: &'a ShopArgs,
        load: &'a LoadArgs,
        products: usize,
        stock: i64,
        customers: usize,
    ) -> Result<Self, StageError> {
        let (staff, audit_before) = shop.enter().await?;
        let name = format!("run{:08x}", rand::random::<u32>());
        let names = (0..customers).map(|n| format!("{name}-{n}")).collect();
        let (users, accounts): (Vec<i64>, Vec<Account>) =
            account::sign_up(&shop.url, names).await?.into_iter().unzip();
        let goods = Rc::new(Goods::make(&shop.url, &staff, &name, products, stock).await?);
        let accounts = accounts.into_iter().map(Arc::new).collect();
        let receipts = Rc::default();
        Ok(Self { shop, load, staff, audit_before, goods, users, accounts, receipts, name })
    }

    /// Lets the visitors work, checks what they leave behind, and clears it away.
    pub(crate) async fn play<V: Visitor>(
        self,
        scenario: &'static str,
        settings: Vec<(&'static str, String)>,
        kinds: &[&'static str],
        plan: Plan,
        visitors: Vec<V>,
    ) -> Result<Report, StageError> {
        let meter = Meter::begin(self.load.watch_pid);
        let figures = drive(plan, kinds, visitors).await?;
        self.settle(scenario, settings, figures, meter.end()).await
    }

    /// The staff account.
    pub(crate) fn staff(&self) -> &Account {
        &self.staff
    }

    /// Checks what visitors left behind, and clears it away.
    pub(crate) async fn settle(
        self,
        scenario: &'static str,
        settings: Vec<(&'static str, String)>,
        figures: Figures,
        usage: Usage,
    ) -> Result<Report, StageError> {
        let against = Against {
            target: &self.shop.url,
            staff: &self.staff,
            users: &self.users,
            before: &self.goods.before,
            category: self.goods.category,
        };
        let receipts = self.receipts.take();
        let (orders, stock, after) = receipts::check(&receipts, &against).await?;
        let audit_after = Audit::read(&mut Client::new(self.shop.url.clone()), &self.staff).await?;
        self.goods.clear_away(&self.shop.url, &self.staff).await?;
        let mut report = Report::new(scenario, settings, figures, usage);
        report.allow_failures = self.load.allow_failures;
        report.units_left = Some(after.units());
        report.orders = Some(orders);
        report.stock = Some(stock);
        report.audit_before = Some(self.audit_before);
        report.audit_after = Some(audit_after);
        Ok(report)
    }
}
