//! What its owner changes about a live session: parameters, shares, the end of its job's time.

use super::{Due, Edit, Effect, Work};
use crate::hook::Hook;

impl Work {
    /// Wakes up when the next share is over: there is one alarm for them all.
    pub(super) fn arm_shares(&mut self) {
        let now = self.now;
        let ends = self.record().shares.iter().filter_map(|share| share.expires_at);
        if let Some(at) = ends.filter(|at| *at > now).min() {
            self.effect(Effect::Wake { at, due: Due::Share });
        }
    }

    pub(super) fn edit(&mut self, by: &str, edit: &Edit) {
        match edit {
            Edit::Params { was, params } => {
                let record = self.record();
                if record.params_rev != *was || record.params == *params {
                    return;
                }
                record.params = params.clone();
                record.params_rev += 1;
                self.note("params", by, "parameters changed");
                self.effect(Effect::PushSnapshot);
                self.effect(Effect::Tell(Hook::OnParams));
            }
            Edit::Share(share) => {
                let record = self.record();
                record.shares.retain(|old| share.grantee == "link" || old.grantee != share.grantee);
                record.shares.push(share.clone());
                self.note("shared", by, format!("with {}", share.grantee));
                self.arm_shares();
                self.effect(Effect::PushSnapshot);
                self.effect(Effect::ReviewStreams);
            }
            Edit::Unshare(id) => {
                let record = self.record();
                let before = record.shares.len();
                record.shares.retain(|share| share.id != *id);
                if record.shares.len() == before {
                    return;
                }
                record.withdrawn.push(id.clone());
                self.note("unshared", by, "a share was withdrawn");
                self.effect(Effect::PushSnapshot);
                self.effect(Effect::ReviewStreams);
            }
            Edit::Extend(until) => {
                if let Some(job) = &mut self.record().job {
                    job.ends_at = Some(*until);
                    self.note("extended", by, format!("its job may run until {until}"));
                    self.arm_limit();
                }
            }
            Edit::Refresh => {
                self.step.touch = true;
                self.effect(Effect::PushSnapshot);
            }
        }
    }
}
