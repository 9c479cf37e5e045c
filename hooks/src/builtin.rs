//! The templates that are part of the program.

/// Path such as `shell/template.toml`, content, and whether it is executable.
pub type BuiltinFile = (&'static str, &'static [u8], bool);

/// Every file of every shipped template.
pub fn builtin() -> &'static [BuiltinFile] {
    include!(concat!(env!("OUT_DIR"), "/builtin.rs"))
}
