//! `wharf`: temporary assembly until the whole command line lands.

mod assemble;
mod serve;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
struct Arguments {
    word: String,
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    templates: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let plan = assemble::Plan {
        data_dir: arguments.data_dir,
        template_dirs: arguments.templates,
        listen: Vec::new(),
        insecure_http: false,
        tls: None,
        web_domain: None,
        advertise: Vec::new(),
        monitor: None,
        logs_roots: Vec::new(),
        max_hooks: 0,
        settings: wharf_core::Settings::default(),
    };
    match runtime.block_on(serve::serve(plan, user::current())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error);
            ExitCode::from(7)
        }
    }
}
