//! `emporium import`: products from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use emporium_actors::Shop;
use emporium_actors::import::{
    Counts, FAULTS_MAX, ID_CHARS_MAX, ImportId, ImportNews, ImportReport, ImportRequest, Progress as Done,
    RowFault,
};
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use super::CliError;
use super::connection::connected;
use super::terminal::{self, Progress};
use crate::product_file::{Format, Intake, IntakeError, Taken, take_in};
use crate::settings::Settings;

/// The most mistakes that are shown one by one.
const SHOWN_MAX: usize = 20;
/// Bytes that are read from a file at once.
const PIECE: usize = 64 << 10;
/// Pieces that are read ahead.
const AHEAD: usize = 4;
/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bring products in from a file; known by their sku, new ones are made and known ones updated
///
/// CSV, whose first line names its columns, or NDJSON, an object a line; either may be in gzip. Columns:
/// sku, name, description, category, price, stock, stock_delta, in any order; sku must be there, and what
/// is not there is kept. stock is a count, stock_delta adds. Missing categories are made. Rows that say what
/// cannot be are named, and the others go in; then the exit code is 1.
///
/// The same file again changes nothing. After an interruption it goes on where it stopped; a file with
/// stock_delta is known by its content, and adds only once.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; `-` is standard input
    file: PathBuf,
    /// How it is written; by default as the file's ending says, else CSV
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What the import is to be known by: the same id goes on where it stopped, another one is another
    /// import
    #[arg(long, value_parser = parse_id)]
    id: Option<String>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

fn parse_id(text: &str) -> Result<String, String> {
    let is_fine =
        (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_fine { Ok(text.to_owned()) } else { Err(format!("1 to {ID_CHARS_MAX} visible characters")) }
}

/// A file, or what stands for one.
pub(super) struct Source {
    /// What to call it.
    pub(super) name: String,
    pub(super) format: Format,
    /// How long it is, where that is known.
    pub(super) bytes: Option<u64>,
    pub(super) content: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(file: &Path, format: Option<Format>) -> Result<Self, CliError> {
        let format = format.or_else(|| Format::of_path(file)).unwrap_or(Format::Csv);
        if file == Path::new("-") {
            let (name, content) = ("standard input".to_owned(), Box::new(io::stdin()));
            return Ok(Self { name, format, bytes: None, content });
        }
        let name = file.display().to_string();
        let fail = |source| CliError::Read { path: name.clone(), source };
        let content = File::open(file).map_err(fail)?;
        let bytes = content.metadata().map_err(fail)?.len();
        Ok(Self { name, format, bytes: Some(bytes).filter(|bytes| *bytes > 0), content: Box::new(content) })
    }
}

/// What an import came to.
pub(super) struct Outcome {
    report: ImportReport,
    /// The first mistakes, and how many rows have one.
    faults: Vec<RowFault>,
    refused: i64,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    // A missing file is said before a database is started for it.
    let source = Source::open(&args.file, args.format)?;
    let id = args.id.clone().map_or(ImportId::OfContent, ImportId::Given);
    let request = ImportRequest { id, by: None, is_dry_run: args.dry_run };
    connected(settings, async |connection| {
        let shop = connection.shop(settings).await?;
        let name = source.name.clone();
        let outcome = bring_in(&shop, source, request, settings.http.import_bytes_max).await;
        shop.stop().await;
        Ok(tell(&name, &outcome?, args.dry_run))
    })
    .await
}

/// Imports a file, and shows how far it is.
pub(super) async fn bring_in(
    shop: &Shop,
    source: Source,
    request: ImportRequest,
    bytes_max: u64,
) -> Result<Outcome, CliError> {
    let Source { name, format, bytes, content } = source;
    let staging = shop.imports.begin(request).await.map_err(CliError::Import)?;
    let intake = Intake { format, is_packed: None, bytes_max };
    let reading = bytes.map(|bytes| Progress::new("reading", bytes));
    let taken = take_in(read_aside(content), intake, staging, |bytes| {
        if let Some(reading) = &reading {
            reading.at(bytes);
        }
    })
    .await;
    if let Some(reading) = reading {
        reading.finish();
    }
    let Taken { import, faults, refused } = taken.map_err(|error| match error {
        IntakeError::Source(source) => CliError::Read { path: name.clone(), source },
        IntakeError::Import(error) => CliError::Import(error),
        error => CliError::Unusable { path: name.clone(), reason: error.to_string() },
    })?;
    let mut outcome = Outcome { report: ImportReport::default(), faults, refused };
    let mut merging = import.merge();
    let mut progress = None;
    let ended = loop {
        match merging.next(LOOK_EVERY).await {
            ImportNews::Fault(fault) => outcome.faults.push(fault),
            ImportNews::Progress(Done { rows: 0, .. }) => {}
            ImportNews::Progress(Done { rows, done }) => {
                let bar =
                    progress.get_or_insert_with(|| Progress::new("importing products", rows.unsigned_abs()));
                bar.at(done.unsigned_abs());
            }
            ImportNews::Ended(ended) => break ended,
        }
    };
    if let Some(progress) = progress {
        progress.finish();
    }
    outcome.report = ended.map_err(CliError::Import)?;
    outcome.refused += outcome.report.counts.refused;
    Ok(outcome)
}

/// Says what an import came to: mistakes on standard error, the rest on standard output.
pub(super) fn tell(name: &str, outcome: &Outcome, is_dry_run: bool) -> ExitCode {
    let Outcome { report, faults, refused } = outcome;
    if let Some(at) = report.finished_before {
        terminal::line(&format_args!(
            "{name} was imported before, at {at}; nothing was done. With an --id of its own it is imported again"
        ));
    }
    let would = if is_dry_run { "would be " } else { "" };
    let Counts { created, updated, unchanged, .. } = report.counts;
    let done = created + updated + unchanged;
    terminal::line(&format_args!(
        "{done} products {would}imported: {created} new, {updated} updated, {unchanged} unchanged"
    ));
    if *refused == 0 {
        return ExitCode::SUCCESS;
    }
    terminal::error(&format_args!("{refused} rows of {name} {would}refused:\n{}", listed(faults)));
    ExitCode::FAILURE
}

/// The first mistakes, one a line.
fn listed(faults: &[RowFault]) -> String {
    let mut lines: Vec<String> = faults
        .iter()
        .take(SHOWN_MAX)
        .map(|RowFault { line, column, what }| match column {
            Some(column) => format!("line {line}, column {column}: {what}"),
            None => format!("line {line}: {what}"),
        })
        .collect();
    match faults.len() - lines.len() {
        0 => {}
        _ if faults.len() >= FAULTS_MAX => lines.push("and many more".to_owned()),
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n")
}

/// What a reader gives, read on a thread that nothing waits for: standard input may never come to its end.
fn read_aside(mut content: Box<dyn Read + Send>) -> impl Stream<Item = io::Result<Bytes>> {
    let (pieces_in, pieces) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match content.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    piece.truncate(length);
                    Ok(Bytes::from(piece))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_over = read.is_err();
            if pieces_in.blocking_send(read).is_err() || is_over {
                return;
            }
        }
    });
    stream::unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) })
}
