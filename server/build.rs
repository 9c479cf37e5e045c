//! Says that the page of `../web` is part of this crate, files that are new there too.

fn main() {
    println!("cargo:rerun-if-changed=../web");
}
