//! Several statements in one round trip, in a fixed order, COMMIT included, without losing track.
//!
//! Three traps make this more than a join. A future that is not polled has sent nothing, and one
//! that is polled out of order sends out of order. A statement can fail before it is sent (its
//! parameters do not encode), and the COMMIT behind it would then commit the rest. And the COMMIT of
//! a transaction that has failed answers "Ok". So: each step is polled once, in order; at the first
//! that fails before it was sent, nothing more is sent; and success is the success of every step.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::db::StoreError;

/// One statement on its way. Its first poll must send it, so its text must be prepared already.
pub(crate) type Step<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// Sends the steps in order and waits for all of them.
///
/// # Errors
/// The error of the first step, in their order, that failed.
pub(crate) async fn send_in_order(steps: Vec<Step<'_>>) -> Result<(), StoreError> {
    let mut waiting: Vec<Option<Step<'_>>> = steps.into_iter().map(Some).collect();
    let mut failures: Vec<(usize, StoreError)> = Vec::new();
    let mut all_sent = false;
    poll_fn(|cx| {
        poll_in_order(&mut waiting, &mut failures, all_sent, cx);
        all_sent = true;
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    failures.sort_by_key(|(position, _)| *position);
    match failures.into_iter().next() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

fn poll_in_order(
    waiting: &mut [Option<Step<'_>>],
    failures: &mut Vec<(usize, StoreError)>,
    all_sent: bool,
    cx: &mut Context<'_>,
) {
    for position in 0..waiting.len() {
        let Some(step) = waiting[position].as_mut() else { continue };
        let Poll::Ready(outcome) = step.as_mut().poll(cx) else { continue };
        waiting[position] = None;
        let Err(error) = outcome else { continue };
        failures.push((position, error));
        if !all_sent {
            // This step was never sent, nor are those behind it.
            waiting[position..].iter_mut().for_each(|unsent| *unsent = None);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn step<'a>(sent: &'a Mutex<Vec<u8>>, name: u8, fails_unsent: bool, answer: bool) -> Step<'a> {
        Box::pin(async move {
            if fails_unsent {
                return Err(StoreError::unavailable("unsent"));
            }
            sent.lock().unwrap().push(name);
            tokio::task::yield_now().await;
            if answer { Ok(()) } else { Err(StoreError::timed_out("answered")) }
        })
    }

    #[tokio::test]
    async fn steps_are_sent_in_their_order() {
        let sent = Mutex::new(Vec::new());
        let steps = (0..5).map(|name| step(&sent, name, false, true)).collect();
        assert!(send_in_order(steps).await.is_ok());
        assert_eq!(*sent.lock().unwrap(), [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn nothing_is_sent_after_a_step_that_could_not_be() {
        let sent = Mutex::new(Vec::new());
        let steps =
            vec![step(&sent, 0, false, true), step(&sent, 1, true, true), step(&sent, 2, false, true)];
        assert!(send_in_order(steps).await.is_err());
        assert_eq!(*sent.lock().unwrap(), [0], "a COMMIT would have followed a missing statement");
    }

    #[tokio::test]
    async fn the_first_failure_in_order_is_the_one_told() {
        let sent = Mutex::new(Vec::new());
        let steps =
            vec![step(&sent, 0, false, true), step(&sent, 1, false, false), step(&sent, 2, false, true)];
        let error = send_in_order(steps).await.unwrap_err();
        assert_eq!(error.to_string(), StoreError::timed_out("answered").to_string());
        assert_eq!(*sent.lock().unwrap(), [0, 1, 2]);
    }
}
