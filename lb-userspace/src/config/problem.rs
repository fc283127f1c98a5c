//! What is wrong with a file, and where: the one form in which every problem of a configuration is reported.

use std::fmt;

/// Where something stands in a file; both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 1 is the first line.
    pub line: usize,
    /// 1 is the first character of the line.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands; `None` when it is no single place's fault.
    pub place: Option<Place>,
    /// One sentence that names the thing and the way out.
    pub text: String,
}

/// Everything that is wrong with one file, in the order of the file; never empty inside an `Err`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as the operator named it.
    pub file: String,
    /// Sorted by place.
    pub list: Vec<Problem>,
}

impl Problems {
    /// `list` in the order of the file; what was found twice at one place is said once.
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.to_owned(), list }
    }
}

impl fmt::Display for Problems {
    /// One line for each problem, `file:line:column: text`, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.list.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            match problem.place {
                Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, problem.text)?,
                None => write!(f, "{}: {}", self.file, problem.text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Turns offsets in a text into places.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Offset of the first byte of every line.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// The place of the byte at `offset_bytes`; past the end is the end.
    pub(super) fn place(&self, offset_bytes: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset_bytes);
        let line = self.starts.partition_point(|&start| start <= offset);
        Place { line, column: self.text[self.starts[line - 1]..offset].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Place, Problem, Problems};

    #[test]
    fn columns_count_characters() {
        let lines = Lines::new("a\n# ü x\n");
        assert_eq!(lines.place(0), Place { line: 1, column: 1 });
        assert_eq!(lines.place(1), Place { line: 1, column: 2 });
        assert_eq!(lines.place(2), Place { line: 2, column: 1 });
        assert_eq!(lines.place("a\n# ü ".len()), Place { line: 2, column: 5 });
        assert_eq!(lines.place(1000), Place { line: 3, column: 1 });
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_once() {
        let at = |line, text: &str| Problem { place: Some(Place { line, column: 1 }), text: text.to_owned() };
        let problems = Problems::new(
            "f",
            vec![at(2, "b"), at(1, "a"), at(2, "b"), Problem { place: None, text: "z".to_owned() }],
        );
        assert_eq!(problems.to_string(), "f: z\nf:1:1: a\nf:2:1: b");
    }
}
