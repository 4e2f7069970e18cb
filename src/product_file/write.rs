//! Products as a file that an import reads back.

use bytes::{BufMut, BytesMut};
use emporium_actors::import::ExportRow;
use emporium_actors::types::Money;
use serde::Serialize;

use super::Format;
use super::row::COLUMNS;

/// The columns of an export: all but the difference of stock.
const EXPORTED: usize = COLUMNS.len() - 1;

/// Writes products into a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    format: Format,
}

/// A product as a line of NDJSON.
#[derive(Serialize)]
struct Line<'a> {
    sku: Option<&'a str>,
    name: &'a str,
    description: Option<&'a str>,
    category: &'a str,
    price: Money,
    stock: i64,
}

impl Writer {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// What stands before the first product.
    pub(crate) fn begin(self, out: &mut BytesMut) {
        if self.format == Format::Csv {
            out.extend_from_slice(COLUMNS[..EXPORTED].join(",").as_bytes());
            out.put_u8(b'\n');
        }
    }

    /// A product.
    pub(crate) fn product(self, product: &ExportRow, out: &mut BytesMut) {
        let ExportRow { sku, name, description, category, price, stock, .. } = product;
        let (sku, description) = (sku.as_deref(), description.as_deref());
        match self.format {
            Format::Csv => {
                let (price, stock) = (price.to_string(), stock.to_string());
                let texts: [&str; EXPORTED] =
                    [sku.unwrap_or(""), name, description.unwrap_or(""), category, &price, &stock];
                for (place, text) in texts.into_iter().enumerate() {
                    if place > 0 {
                        out.put_u8(b',');
                    }
                    field(text, out);
                }
            }
            Format::Ndjson => {
                let line = Line { sku, name, description, category, price: *price, stock: *stock };
                // Strings, numbers and nulls always serialize, and a buffer takes all.
                serde_json::to_writer(out.writer(), &line).ok();
            }
        }
        out.put_u8(b'\n');
    }
}

fn field(text: &str, out: &mut BytesMut) {
    let is_plain = !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        return out.extend_from_slice(text.as_bytes());
    }
    out.put_u8(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use emporium_actors::types::ProductId;

    use super::*;

    fn written(format: Format) -> String {
        let product = ExportRow {
            id: ProductId(1),
            sku: Some("A,1".to_owned()),
            name: "Say \"hi\"".to_owned(),
            description: None,
            category: "Ürs\nfirst".to_owned(),
            price: Money::from_cents(150),
            stock: 7,
        };
        let mut out = BytesMut::new();
        let writer = Writer::new(format);
        writer.begin(&mut out);
        writer.product(&product, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn products_are_written_as_they_are_read() {
        assert_eq!(
            written(Format::Csv),
            "sku,name,description,category,price,stock\n\"A,1\",\"Say \"\"hi\"\"\",,\"Ürs\nfirst\",1.50,7\n"
        );
        assert_eq!(
            written(Format::Ndjson),
            "{\"sku\":\"A,1\",\"name\":\"Say \\\"hi\\\"\",\"description\":null,\"category\":\"Ürs\\nfirst\",\"price\":\"1.50\",\"stock\":7}\n"
        );
    }
}
