//! `emporium export`: products into a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::BytesMut;
use emporium_actors::import::{EXPORT_PAGE_ROWS, Imports};

use super::CliError;
use super::connection::connected;
use crate::product_file::{Format, Writer};
use crate::settings::Settings;

/// Write all products down, as an import brings them in again
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; `-` is standard output
    file: PathBuf,
    /// How to write it; by default as the file's ending says, else CSV
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    connected(settings, async |connection| {
        let shop = connection.shop(settings).await?;
        let format = args.format.or_else(|| Format::of_path(&args.file)).unwrap_or(Format::Csv);
        let written = match create(&args.file) {
            Ok(mut out) => write(&shop.imports, format, &mut *out).await,
            Err(error) => Err(error),
        };
        shop.stop().await;
        written.map(|()| ExitCode::SUCCESS)
    })
    .await
}

/// The file to write into; `-` is standard output.
pub(super) fn create(file: &Path) -> Result<Box<dyn Write>, CliError> {
    if file == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    Ok(Box::new(BufWriter::new(File::create(file).map_err(CliError::Write)?)))
}

async fn write(imports: &Imports, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let (writer, mut text, mut after) = (Writer::new(format), BytesMut::new(), 0);
    writer.begin(&mut text);
    loop {
        let products = imports.export_page(after).await?;
        products.iter().for_each(|product| writer.product(product, &mut text));
        out.write_all(&text).map_err(CliError::Write)?;
        text.clear();
        match products.last() {
            Some(last) if products.len() == EXPORT_PAGE_ROWS => after = last.id.0,
            _ => return out.flush().map_err(CliError::Write),
        }
    }
}
