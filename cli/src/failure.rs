//! What a command that failed says and exits with.
//!
//! Every failure is a problem document, whoever found it out: the same table of codes serves the API and the
//! command line.

use std::io;

use wharf_protocol::{ErrorCode, Problem};

/// Why a command ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With a message and the problem's exit code.
    Problem(Box<Problem>),
    /// With a message and that exit code (`exec`: 125).
    Coded(Box<Problem>, u8),
    /// Standard output is closed: nobody reads on, which is no error.
    Unread,
}

/// What a command gives.
pub(crate) type Outcome<T = u8> = Result<T, Failure>;

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Failure {
    /// The command line was wrong.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Problem::new(ErrorCode::Usage, detail).into()
    }

    /// A local file or the terminal failed.
    pub(crate) fn local(what: &str, error: &io::Error) -> Self {
        Problem::new(ErrorCode::Internal, format!("{what}: {error}")).into()
    }

    /// Writing a result failed.
    pub(crate) fn writing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::local("the result cannot be written", error)
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.exit_code(),
            Self::Coded(_, code) => *code,
            Self::Unread => 0,
        }
    }
}

/// The worst of several exit codes, in the order 1 7 6 5 4 3 2.
pub(crate) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    const ORDER: [u8; 7] = [1, 7, 6, 5, 4, 3, 2];
    let codes: Vec<u8> = codes.into_iter().collect();
    ORDER.into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first() {
        assert_eq!(worst([]), 0);
        assert_eq!(worst([0, 2, 3]), 3);
        assert_eq!(worst([4, 5, 6, 7]), 7);
        assert_eq!(worst([7, 1]), 1);
    }
}
