//! What the `MailerActor` is told.

use actix::Message;

/// Finish the letters in hand, give up the lease, and stop. Answered when that is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopMailer;
