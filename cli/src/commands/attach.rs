//! `attach`: a session's terminal on the user's own.

use wharf_protocol::SessionId;

use super::Context;
use crate::args::session::{Attach, DetachKey, RoleArg};
use crate::client::Client;
use crate::client::calls::Query;
use crate::failure::Outcome;
use crate::find;
use crate::relay::{self, Ended, Plan};

pub(super) async fn run(context: &Context, args: Attach) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let role = match args.role {
        RoleArg::View => "view",
        RoleArg::Control => "control",
    };
    enter(context, &client, &id, role, &args.detach).await
}

pub(super) async fn enter(
    context: &Context,
    client: &Client,
    id: &SessionId,
    role: &str,
    detach: &DetachKey,
) -> Outcome {
    let query = Query::default().with("role", role);
    let (sender, receiver) = client.stream(&format!("/sessions/{id}/attach{query}")).await?;
    if let Some(key) = detach.detach_key.0 {
        context.output.tip(&format!("attached to {id}; Ctrl-{} leaves it running", char::from(key | 0x40)));
    }
    let plan = Plan { input: true, tty: true, detach: detach.detach_key.0, tell_end: false };
    Ok(match relay::run(sender, receiver, plan).await? {
        Ended::Exit(exit) => {
            context.output.tip(&format!("the session {id} has ended"));
            relay::code(exit)
        }
        Ended::Detached => {
            context.output.tip(&format!("left {id}; it goes on. Come back with: wharf attach {id}"));
            0
        }
        Ended::Told(code) => code,
    })
}
