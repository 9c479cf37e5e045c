//! `connect`: the ways into a session, as its monitor answers now; and opening one in a browser.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wharf_protocol::api::{ConnectRequest, Connection, EndpointKind, Role};

use super::{Context, wait};
use crate::args::session::{Connect, Goal, RoleArg};
use crate::failure::{Failure, Outcome};
use crate::{find, output::table, paths};

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
    if args.open {
        return open(context, &reply.value);
    }
    context.output.object(&reply.raw, || table::connection(&context.output, &reply.value))?;
    if reply.value.endpoints.iter().any(|endpoint| endpoint.kind == EndpointKind::Tty) {
        context.output.tip(&format!("enter its terminal with: wharf attach {id}"));
    }
    Ok(0)
}

/// Opens the one application there is.
fn open(context: &Context, connection: &Connection) -> Outcome {
    let mut applications = connection.endpoints.iter().filter(|endpoint| endpoint.kind == EndpointKind::Http);
    let (Some(application), None) = (applications.next(), applications.next()) else {
        let names: Vec<&str> = connection
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.kind == EndpointKind::Http)
            .map(|endpoint| endpoint.name.as_str())
            .collect();
        return Err(Failure::usage(match names.len() {
            0 => "there is no application for a browser here".to_owned(),
            _ => format!("there are several: name one of {}", names.join(", ")),
        }));
    };
    // The address lets in whoever opens it first: it must not stand in a command line, where other users see it.
    let data = paths::data_dir(&context.global)?;
    let page = page(&data, &application.url)
        .map_err(|error| Failure::local("the browser's page cannot be written", &error))?;
    let browser = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
    let browser = browser.as_deref().unwrap_or("xdg-open");
    let started = Command::new(browser)
        .arg(&page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(_) => {
            context.output.tip(&format!("opening {} in {browser}", application.name));
            Ok(0)
        }
        Err(error) => Err(Failure::usage(format!(
            "{browser} cannot be started: {error}; set BROWSER, or open what `wharf connect` prints"
        ))),
    }
}

/// A page for this user only that leads to that address, in place of the one before.
fn page(data: &Path, url: &str) -> std::io::Result<std::path::PathBuf> {
    std::fs::create_dir_all(data)?;
    let mut file = tempfile::Builder::new().prefix("open-").suffix(".html").tempfile_in(data)?;
    let url = url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    write!(
        file,
        "<!doctype html><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0;url={url}\"><a href=\"{url}\">open</a>"
    )?;
    let page = data.join("open.html");
    file.persist(&page).map_err(|error| error.error)?;
    Ok(page)
}
