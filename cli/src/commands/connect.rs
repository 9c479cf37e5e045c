//! `connect`: the ways into a session, as its monitor answers now.

use std::time::Duration;

use wharf_protocol::api::{ConnectRequest, Role};

use super::{Context, wait};
use crate::args::session::{Connect, Goal, RoleArg};
use crate::failure::Outcome;
use crate::{find, output::table};

/// Until the monitor of a running session has answered.
const ANSWER: Duration = Duration::from_secs(15);

pub(super) fn role(role: RoleArg) -> Role {
    match role {
        RoleArg::View => Role::View,
        RoleArg::Control => Role::Control,
    }
}

pub(super) async fn run(context: &Context, args: Connect) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    if let Some(within) = args.wait {
        wait::until(context, &client, &id, Goal::Running, within.map(|within| within.0)).await?;
    }
    let request = ConnectRequest { endpoint: args.endpoint, role: args.role.map(role) };
    let reply = client.connection(&id, &request, args.wait.map(|_| ANSWER)).await?;
    context.output.object(&reply.raw, || table::connection(&context.output, &reply.value))?;
    if reply.value.endpoints.iter().any(|endpoint| endpoint.kind == wharf_protocol::api::EndpointKind::Tty) {
        context.output.tip(&format!("enter its terminal with: wharf attach {id}"));
    }
    Ok(0)
}
