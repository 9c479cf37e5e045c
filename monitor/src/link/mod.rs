//! The link: one outbound connection to a launcher, dialled for ever.

mod dial;
pub(crate) mod enrol;
mod proof;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::monitor::{Monitor, Order};
use crate::say;
use dial::Refused;

/// Between two dials, at most.
const MOST: Duration = Duration::from_secs(30);

/// Dials, serves the link while it lasts, and dials again.
pub(crate) async fn keep(monitor: Arc<Monitor>) {
    let mut wait = Duration::ZERO;
    let mut next = Duration::from_secs(1);
    let mut before = dial::local_sockets(&monitor.addresses);
    let mut said = Said::default();
    loop {
        pause(&monitor, wait, &before).await;
        // As they were when dialled: one that came meanwhile is news.
        before = dial::local_sockets(&monitor.addresses);
        match dial::dial(&monitor).await {
            Ok(socket) => match session::serve(&monitor, socket).await {
                session::Over::Lost { welcomed } => {
                    if welcomed {
                        said = Said::default();
                        next = Duration::from_secs(1);
                        wait = random(Duration::from_secs(2));
                        continue;
                    }
                }
                session::Over::Later(after) => {
                    wait = after;
                    continue;
                }
                session::Over::End => return end(&monitor),
                session::Over::Released => return,
            },
            Err(Refused::Never) => {
                say("the launcher does not know this credential; it is not asked again");
                // Nobody will ever take the report: the command's end is then the job's.
                monitor.released.send_replace(true);
                return;
            }
            Err(Refused::Over) => return end(&monitor),
            Err(Refused::Later(after)) => {
                wait = after + random(after / 4);
                continue;
            }
            Err(Refused::Unreachable(why)) => said.unreached(why),
        }
        wait = random(next);
        next = (next * 2).min(MOST);
    }
}

/// What was last said of a launcher that is not reached: it is dialled for ever, and said once.
#[derive(Debug, Default)]
struct Said(Option<String>);

impl Said {
    fn unreached(&mut self, why: String) {
        if self.0.as_ref() != Some(&why) {
            say(&format!("no launcher is reached; dialling on ({why})"));
            self.0 = Some(why);
        }
    }
}

/// The session is over for the launcher: end it, and wait for nobody.
fn end(monitor: &Monitor) {
    say("the launcher says that this session is over, or that a newer monitor serves it");
    let _ = monitor.orders.send(Order::Over);
    monitor.released.send_replace(true);
}

/// Somewhere between nothing and that.
fn random(most: Duration) -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    most * u32::from(byte[0]) / 255
}

/// Waits; a local launcher that comes back is noticed at once.
async fn pause(monitor: &Monitor, wait: Duration, before: &dial::LocalSockets) {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        let now = dial::local_sockets(&monitor.addresses);
        if !now.is_empty() && now != *before {
            // Not all monitors of a host in the same moment.
            tokio::time::sleep(random(Duration::from_millis(300))).await;
            return;
        }
    }
}
