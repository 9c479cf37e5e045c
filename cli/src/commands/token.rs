//! `token create`, `list` and `revoke`.

use wharf_protocol::api::{Scope, TokenRequest};

use super::{Context, documents, values};
use crate::args::admin::{ScopeArg, TokenCommand};
use crate::failure::Outcome;
use crate::output::escape;
use crate::output::table::administration;

pub(super) async fn run(context: &Context, command: TokenCommand) -> Outcome {
    let client = context.client()?;
    match command {
        TokenCommand::Create(args) => {
            let scope = match args.scope {
                ScopeArg::Full => Scope::Full,
                ScopeArg::Read => Scope::Read,
                ScopeArg::Guest => Scope::Guest,
            };
            let request = TokenRequest { name: args.name, user: args.user, scope, expires_in: args.expires };
            let reply = client.create_token(&request).await?;
            let secret = reply.value.token.clone().unwrap_or_default();
            context.output.object(&reply.raw, || escape::line(&secret).into_owned())?;
            let id = &reply.value.id;
            context.output.tip(&format!("shown once; revoke it with: wharf token revoke {id}"));
        }
        TokenCommand::List => {
            let all = client.tokens().await?;
            context
                .output
                .list(&documents(&all), || administration::tokens(&context.output, &values(&all)))?;
        }
        TokenCommand::Revoke { id } => client.revoke_token(&id).await?,
    }
    Ok(0)
}
