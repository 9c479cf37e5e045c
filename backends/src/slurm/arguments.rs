//! What the functions are called with.

use serde::Deserialize;
use serde_json::Value;
use wharf_protocol::{Dur, SessionId};

use crate::arguments::list;
pub(super) use crate::arguments::read;

/// A whole number; Lua knows one kind of number.
fn whole<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole, not negative and far below 2^53"
            )]
            let read = number.as_u64().or_else(|| {
                number
                    .as_f64()
                    .filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number))
                    .map(|number| number as u64)
            });
            read.map(Some).ok_or_else(|| serde::de::Error::custom("expected a whole number"))
        }
        other => Err(serde::de::Error::custom(format!("expected a number, got {other}"))),
    }
}

/// `sbatch`: each is one word of its arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sbatch {
    /// The job script.
    pub(super) script: String,
    /// The session id: the job's name and comment.
    pub(super) tag: SessionId,
    /// The job's output file, as it is to be.
    pub(super) output: String,
    #[serde(default)]
    pub(super) chdir: Option<String>,
    #[serde(default)]
    pub(super) partition: Option<String>,
    #[serde(default)]
    pub(super) account: Option<String>,
    #[serde(default)]
    pub(super) qos: Option<String>,
    #[serde(default)]
    pub(super) reservation: Option<String>,
    #[serde(default)]
    pub(super) constraint: Option<String>,
    /// Of another cluster than the default one.
    #[serde(default)]
    pub(super) cluster: Option<String>,
    /// As parameters of the type `duration` come: `8h`.
    #[serde(default)]
    pub(super) time: Option<Dur>,
    /// As parameters of the type `size` come: `16GiB`, on each node.
    #[serde(default)]
    pub(super) memory: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) cpus: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) nodes: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) gpus: Option<u64>,
    /// Slurm may start it again.
    #[serde(default)]
    pub(super) requeue: bool,
    /// The site's own options, `--name=value` each.
    #[serde(default, deserialize_with = "list")]
    pub(super) options: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jobs {
    #[serde(deserialize_with = "list")]
    pub(super) job_ids: Vec<String>,
}

/// `status`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    #[serde(deserialize_with = "list")]
    pub(super) job_ids: Vec<String>,
    /// Everybody's jobs are asked for, so that places in the queue can be told.
    #[serde(default)]
    pub(super) everybody: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    #[serde(deserialize_with = "list")]
    pub(super) tags: Vec<SessionId>,
    #[serde(default)]
    pub(super) cluster: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scancel {
    #[serde(deserialize_with = "list")]
    pub(super) job_ids: Vec<String>,
    /// A name such as `USR1`: sent to every process of the job, which goes on. None: the job is ended.
    #[serde(default)]
    pub(super) signal: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extend {
    pub(super) job_id: String,
    #[serde(deserialize_with = "whole")]
    pub(super) by_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
