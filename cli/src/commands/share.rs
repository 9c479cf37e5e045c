//! `share` and `unshare`.

use wharf_protocol::api::ShareRequest;

use super::{Context, connect, documents, values};
use crate::args::session::{Share, Unshare};
use crate::failure::Outcome;
use crate::find;
use crate::output::{escape, table};

pub(super) async fn share(context: &Context, args: Share) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    let Some(grantee) = args.with.or_else(|| args.link.then(|| "link".to_owned())) else {
        let shares = client.shares(&id).await?;
        context.output.list(&documents(&shares), || table::shares(&context.output, &values(&shares)))?;
        return Ok(0);
    };
    let request = ShareRequest {
        grantee,
        role: connect::role(args.role),
        exec: args.exec,
        expires_at: None,
        expires_in: args.expires,
    };
    let reply = client.share(&id, &request).await?;
    context.output.object(&reply.raw, || match &reply.value.url {
        Some(url) => escape::line(url).into_owned(),
        None => reply.value.id.to_string(),
    })?;
    if reply.value.url.is_some() {
        context.output.tip("this address is shown once; whoever has it may enter");
    }
    Ok(0)
}

pub(super) async fn unshare(context: &Context, args: Unshare) -> Outcome {
    let client = context.client()?;
    let id = find::session(&client, &args.id).await?;
    client.unshare(&id, &args.share).await?;
    Ok(0)
}
