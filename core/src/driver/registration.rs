//! A genuine monitor wants in: fenced, written down, and only then welcomed.

use std::sync::Arc;
use std::time::Duration;

use wharf_protocol::monitor::{Incarnation, LauncherSays, LinkClaim, Resume, Welcome};
use wharf_protocol::signed::Purpose;

use super::Driver;
use crate::fence::{Fence, fence};
use crate::inner::When;
use crate::launcher::{LinkId, Refusal};
use crate::link::ControlLink;
use crate::requests;
use crate::state::{Effect, Event};

impl Driver {
    pub(super) async fn register(
        &mut self,
        claim: &LinkClaim,
        link: Arc<dyn ControlLink>,
    ) -> Result<(LinkId, Box<Welcome>), Refusal> {
        let keys = self.inner.keys();
        let resume: Option<Resume> =
            claim.resume.as_deref().and_then(|token| keys.verify(Purpose::Resume, token));
        let incarnation = match fence(&self.session.record, self.session.link, claim, resume.as_ref()) {
            Fence::Serve(incarnation) => incarnation,
            Fence::Over => {
                return Err(Refusal::Over("the session is over, or a newer monitor serves it".to_owned()));
            }
            Fence::Busy => {
                self.inner.ask_about(&self.session.record, When::Soon);
                let wait = Duration::from_secs(2);
                return Err(Refusal::Later(wait, "another monitor is connected for this session".to_owned()));
            }
        };
        let later = |_| Refusal::Later(Duration::from_secs(5), "the datastore takes no more".to_owned());
        self.unstuck().await.map_err(later)?;
        let old = self.link.take();
        let serial = self.inner.next_serial();
        let same = self.session.record.incarnation == Some(incarnation);
        self.link = Some((serial, Arc::clone(&link)));
        let event = Event::Registered { incarnation, job: claim.job_id.clone() };
        let effects = match self.decide(&event, &[]).await {
            Ok(effects) => effects,
            Err(error) => {
                self.link = old;
                return Err(later(error));
            }
        };
        if let Some((_, old)) = old {
            if !same {
                let message = "a newer monitor serves this session".to_owned();
                old.say(LauncherSays::Refused { message, end: true, over: None, retry_after: None });
            }
            old.close();
        }
        let welcome = self.welcome(claim, incarnation, &effects);
        // What the welcome says already need not be said again before it.
        let rest = effects
            .into_iter()
            .filter(|effect| !matches!(effect, Effect::OrderEnd { .. } | Effect::PushSnapshot))
            .collect();
        self.act(rest);
        Ok((LinkId { session: self.id().clone(), serial }, Box::new(welcome)))
    }

    fn welcome(&self, claim: &LinkClaim, incarnation: Incarnation, effects: &[Effect]) -> Welcome {
        let keys = self.inner.keys();
        let record = &self.session.record;
        let end = effects.iter().find_map(|effect| match effect {
            Effect::OrderEnd { grace } => Some(wharf_protocol::Dur(*grace)),
            _ => None,
        });
        Welcome {
            number: incarnation.number,
            resume: keys.sign(
                Purpose::Resume,
                &Resume { id: record.id.clone(), incarnation, nonce: claim.nonce.clone() },
            ),
            snapshot: requests::snapshot(record, &keys),
            credential: requests::credential(record, &keys, self.inner.clock.now()),
            keys: keys.pins(),
            proof: keys.sign_as_known(Purpose::Proof, &claim.nonce),
            end,
            node: self.inner.node.clone(),
        }
    }
}
