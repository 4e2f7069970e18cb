//! Files of products: what an import reads and an export writes.
//!
//! CSV has a header that names its columns, in any order and case; NDJSON has an object a line, whose
//! members are the columns. `sku` is what a product is known by, and the only column that must be there;
//! `name`, `description`, `category`, `price` and `stock` are as in the catalogue (the category by its name,
//! or by its id); `stock_delta` adds to a stock. What a row does not say keeps what is there.
//!
//! Promises: a file is read as it comes, in constant memory, and so is one in gzip; a row that says
//! something that cannot be is named with its line and column, and reading goes on with the next line,
//! however broken the row is; what makes the whole file unusable is told before anything is done with it.

mod csv;
mod intake;
mod ndjson;
mod reader;
mod row;
mod write;

pub(crate) use intake::{Intake, IntakeError, Taken, take_in};
pub(crate) use write::Writer;

use std::path::Path;

/// How products are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that a media type names.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type.trim().to_ascii_lowercase().as_str() {
            "text/csv" | "application/csv" => Some(Self::Csv),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// The format that a file's ending names, one in gzip as without.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let ending = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?.1;
        match ending {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// What to call it in `Content-Type`.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_go_by_media_type_and_by_ending() {
        assert_eq!(Format::of_media_type("Text/CSV"), Some(Format::Csv));
        assert_eq!(Format::of_media_type("application/x-ndjson"), Some(Format::Ndjson));
        assert_eq!(Format::of_media_type("application/json"), None);
        for (path, format) in [
            ("a/b.csv", Some(Format::Csv)),
            ("b.CSV.gz", Some(Format::Csv)),
            ("b.ndjson", Some(Format::Ndjson)),
            ("b.jsonl.gz", Some(Format::Ndjson)),
            ("csv", None),
            ("b.txt", None),
        ] {
            assert_eq!(Format::of_path(Path::new(path)), format, "{path}");
        }
    }
}
