//! The live feeds' edge: WebSocket, and nothing decided here.
//!
//! The only module that knows of `actix-web-actors`. Promises: everything that can be refused is
//! refused before the upgrade, in JSON; a session holds one of a bounded number of seats, no thread,
//! no timer, and no frame that its socket has not room for: it fetches from its
//! [`Subscription`](emporium_actors::feed::Subscription) as the socket takes, so a slow reader's
//! backlog is the bounded one of the feed; a reader that does not read at all is closed from outside.
//!
//! `upgrade` is what happens before a socket is open, `session` what happens then, `message` what a
//! client may say, `watchdog` who sees to it that sockets end that should.
//!
//! Close codes: 1001 the shop stops; 1002 not WebSocket; 1009 too long a message; 1013 the database
//! is out of reach, try again; 4001 not, or not any more, signed in; 4008 too slow for a feed of
//! which nothing may be dropped, resume.

mod message;
mod session;
mod upgrade;
mod watchdog;

use actix_web::web;

pub(crate) use watchdog::Watchdog;

/// Declares both sockets.
pub(crate) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/ws/stock/")
            .route(web::get().to(upgrade::stock))
            .default_service(web::to(upgrade::wrong_method)),
    );
    cfg.service(
        web::resource("/ws/orders/")
            .route(web::get().to(upgrade::orders))
            .default_service(web::to(upgrade::wrong_method)),
    );
}
