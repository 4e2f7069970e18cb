//! What HTTP alone can do here: an actix-web handler that returns a constant, to compare with.

use std::process::ExitCode;

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;

use super::client::{Client, Request, Target};
use super::stage::StageError;

/// Serve a constant with nothing around it, to compare with
///
/// The constant is the answer that a shop gives to a path, taken once. Ends on Ctrl-C.
#[derive(Clone, Debug, clap::Args)]
pub struct BareArgs {
    /// The shop whose answer is served
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: Target,
    /// What the shop is asked for
    #[arg(long)]
    path: String,
    /// Where to listen
    #[arg(long, default_value_t = 8099)]
    port: u16,
}

/// Serves until told to stop. Blocks; must not be called from within a runtime.
pub(crate) fn serve(args: &BareArgs) -> Result<ExitCode, StageError> {
    let cannot = |error: std::io::Error| StageError::Arguments(format!("cannot serve: {error}"));
    actix_web::rt::System::new().block_on(async {
        let answer = Client::new(args.url.clone()).send(&Request::get(args.path.clone())).await?;
        if answer.status != 200 {
            return Err(answer.unexpected("there is nothing to serve").into());
        }
        let body: Bytes = answer.body;
        let app = move || {
            let body = body.clone();
            let constant = move || {
                let body = body.clone();
                async move { HttpResponse::Ok().content_type(ContentType::json()).body(body) }
            };
            App::new().default_service(web::to(constant))
        };
        // As many threads as the shop has unless told otherwise: one per core.
        let server = HttpServer::new(app).bind(("127.0.0.1", args.port)).map_err(cannot)?;
        server.run().await.map_err(cannot)?;
        Ok(ExitCode::SUCCESS)
    })
}
