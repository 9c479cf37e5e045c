//! `template list` and `template show`.

use super::{Context, documents, values};
use crate::args::admin::TemplateCommand;
use crate::failure::Outcome;
use crate::output::table::administration;

pub(super) async fn run(context: &Context, command: TemplateCommand) -> Outcome {
    let client = context.client()?;
    match command {
        TemplateCommand::List => {
            let all = client.templates().await?;
            context
                .output
                .list(&documents(&all), || administration::templates(&context.output, &values(&all)))?;
        }
        TemplateCommand::Show { name } => {
            let reply = client.template(&name).await?;
            context.output.object(&reply.raw, || administration::template(&context.output, &reply.value))?;
        }
    }
    Ok(0)
}
