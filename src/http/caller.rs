//! Whoever is at the other end of a connection.
//!
//! A handler waits for its answer however long ago its client hung up. So whoever is about to work for
//! a client looks at its connection first.

use std::sync::Arc;

use actix_web::HttpRequest;
use emporium_actors::orders::Caller;

use crate::connection::Lifeline;

impl Caller for Lifeline {
    fn has_left(&self) -> bool {
        self.has_ended()
    }
}

/// The caller of this request.
pub(crate) fn of(req: &HttpRequest) -> Option<Arc<dyn Caller>> {
    let lifeline: &Arc<Lifeline> = req.conn_data()?;
    Some(lifeline.clone())
}
