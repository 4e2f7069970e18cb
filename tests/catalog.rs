//! Categories and products: reading, writing, searching, importing.

use emporium::loadtest::client::{Answer, Request};
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Mismatches, Node, TestApp, User};

/// Every id of a list, page by page.
pub(crate) async fn walk(app: &Node, path: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = app.get(&path).await;
        ids.extend(answer.expect_json(200).ids());
        next = answer.header("link").map(|link| {
            assert!(link.ends_with("rel=\"next\""), "{link}");
            link.trim_start_matches('<').split('>').next().expect("a link").to_owned()
        });
        assert!(ids.len() < 10_000, "the list never ends");
    }
    ids
}

/// Whether an answer is a `400` with exactly this body.
fn is_refusal(answer: &Answer, body: &Value) -> bool {
    answer.status == 400 && answer.json::<Value>().is_ok_and(|found| found == *body)
}

struct Shelf {
    app: TestApp,
    staff: User,
    category: i64,
}

impl Shelf {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let staff = app.staff().await;
        let category = app.category(&staff, "all").await;
        Self { app, staff, category }
    }

    async fn add(&self, name: &str, price: &str, stock: i64) -> i64 {
        self.app.product_in(&self.staff, self.category, name, price, stock).await
    }

    fn body(&self) -> Value {
        json!({"name": "thing", "price": "1.00", "category": self.category, "stock": 1})
    }
}

#[tokio::test]
async fn writes_need_staff() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let customer = app.customer("anna").await;
    let product = app.product(&staff, "lamp", "5.00", 3).await;
    let body = json!({});
    let mut mismatches = Mismatches::default();
    for request in [
        Request::post("/api/categories/").json(&body),
        Request::put("/api/categories/1/").json(&body),
        Request::patch("/api/categories/1/").json(&body),
        Request::delete("/api/categories/1/"),
        Request::post("/api/products/").json(&body),
        Request::put(format!("/api/products/{product}/")).json(&body),
        Request::patch(format!("/api/products/{product}/")).json(&body),
        Request::delete(format!("/api/products/{product}/")),
        Request::delete("/api/products/999999/"),
        Request::post(format!("/api/products/{product}/stock/")).json(&body),
        Request::get("/api/audit/"),
    ] {
        let anonymous = app.send(&request).await;
        let holds = anonymous.status == 401
            && anonymous.text() == r#"{"detail":"Authentication credentials were not provided."}"#
            && anonymous.header("www-authenticate") == Some("Bearer realm=\"api\"");
        mismatches
            .check(holds, || format!("anonymous {request:?}: {} {}", anonymous.status, anonymous.text()));
        let ordinary = app.send(&request.clone().bearer(&customer.access)).await;
        let holds = ordinary.status == 403
            && ordinary.text() == r#"{"detail":"You do not have permission to perform this action."}"#;
        mismatches.check(holds, || format!("customer {request:?}: {} {}", ordinary.status, ordinary.text()));
    }
    mismatches.none();
    assert_eq!(app.stock(product).await, 3);
}

#[tokio::test]
async fn a_category_lives_from_post_to_delete() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let made = app.post_as(&staff, "/api/categories/", &json!({"name": " Toys "})).await.expect_json(201);
    assert_eq!(made, json!({"id": made["id"], "name": "Toys", "description": null}));
    let path = format!("/api/categories/{}/", made.id());
    assert_eq!(app.get(&path).await.expect_json(200), made);
    let body = json!({"name": "Games", "description": ""});
    let changed = app.put_as(&staff, &path, &body).await.expect_json(200);
    assert_eq!(changed["description"], "");
    let kept = app.put_as(&staff, &path, &json!({"name": "Games"})).await.expect_json(200);
    assert_eq!(kept, changed);
    let patched =
        app.patch_as(&staff, &path, &json!({"description": "Boards", "x": 1})).await.expect_json(200);
    assert_eq!(patched, json!({"id": made["id"], "name": "Games", "description": "Boards"}));
    assert_eq!(app.patch_as(&staff, &path, &json!({})).await.expect_json(200), patched);
    assert_eq!(app.get("/api/categories/").await.expect_json(200), json!([patched]));
    let gone = app.delete_as(&staff, &path).await;
    assert_eq!((gone.status, gone.body.len(), gone.header("content-type")), (204, 0, None));
    let answer = app.get(&path).await;
    assert_eq!(answer.expect_json(404), json!({"detail": "No Category matches the given query."}));
    app.delete_as(&staff, &path).await.expect_status(404);
    assert_eq!(app.get("/api/categories/").await.expect_json(200), json!([]));
    // The name is free again.
    app.category(&staff, "Games").await;
}

#[tokio::test]
async fn category_names_are_checked_as_the_reference_does() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    app.category(&staff, "Toys").await;
    let mut mismatches = Mismatches::default();
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"name": null}), "This field may not be null."),
        (json!({"name": ""}), "This field may not be blank."),
        (json!({"name": "\u{a0} "}), "This field may not be blank."),
        (json!({"name": true}), "Not a valid string."),
        (json!({"name": ["x"]}), "Not a valid string."),
        (json!({"name": "x".repeat(101)}), "Ensure this field has no more than 100 characters."),
        (json!({"name": "a\u{0}b"}), "Null characters are not allowed."),
        (json!({"name": " Toys "}), "category with this name already exists."),
    ] {
        let answer = app.post_as(&staff, "/api/categories/", &body).await;
        let holds = is_refusal(&answer, &json!({"name": [message]}));
        mismatches.check(holds, || format!("{body}: {} {}", answer.status, answer.text()));
    }
    for (name, stored) in
        [(json!("toys"), "toys"), (json!(123), "123"), (json!("é".repeat(100)), &"é".repeat(100))]
    {
        let answer = app.post_as(&staff, "/api/categories/", &json!({"name": name})).await;
        let holds = answer.status == 201 && answer.json::<Value>().is_ok_and(|found| found["name"] == stored);
        mismatches.check(holds, || format!("{name}: {} {}", answer.status, answer.text()));
    }
    mismatches.none();
}

#[tokio::test]
async fn a_product_lives_from_post_to_delete() {
    let shelf = Shelf::new().await;
    let Shelf { app, staff, category } = &shelf;
    let body = json!({"name": " Laptop ", "price": "1500", "category": category, "stock": 10, "sku": "L-1"});
    let made = app.post_as(staff, "/api/products/", &body).await.expect_json(201);
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 9, "{keys:?}");
    assert_eq!(
        (&made["name"], &made["price"], &made["stock"]),
        (&json!("Laptop"), &json!("1500.00"), &json!(10))
    );
    assert_eq!((&made["sku"], &made["description"]), (&json!("L-1"), &json!(null)));
    let path = format!("/api/products/{}/", made.id());
    assert_eq!(app.get(&path).await.expect_json(200), made);
    let body = json!({"name": "Laptop", "price": 12.5, "category": category.to_string(), "stock": "7"});
    let changed = app.put_as(staff, &path, &body).await.expect_json(200);
    assert_eq!(
        (&changed["price"], &changed["stock"], &changed["sku"]),
        (&json!("12.50"), &json!(7), &json!("L-1"))
    );
    assert_eq!(changed["created_at"], made["created_at"]);
    assert!(changed["updated_at"].as_str() > made["updated_at"].as_str());
    let touched = app.patch_as(staff, &path, &json!({})).await.expect_json(200);
    assert!(touched["updated_at"].as_str() > changed["updated_at"].as_str());
    let patched = app.patch_as(staff, &path, &json!({"description": "Fast"})).await.expect_json(200);
    assert_eq!((&patched["description"], &patched["price"]), (&json!("Fast"), &json!("12.50")));
    let gone = app.delete_as(staff, &path).await;
    assert_eq!((gone.status, gone.body.len(), gone.header("content-type")), (204, 0, None));
    let answer = app.get(&path).await;
    assert_eq!(answer.expect_json(404), json!({"detail": "No Product matches the given query."}));
    app.audit_is_clean(staff).await;
}

#[tokio::test]
async fn prices_are_read_as_the_reference_does() {
    let shelf = Shelf::new().await;
    const PLACES: &str = "Ensure that there are no more than 2 decimal places.";
    const WHOLE: &str = "Ensure that there are no more than 8 digits before the decimal point.";
    const DIGITS: &str = "Ensure that there are no more than 10 digits in total.";
    const NUMBER: &str = "A valid number is required.";
    let long = "1".repeat(1001);
    let good = [
        (r#""5""#, "5.00"),
        ("5", "5.00"),
        (r#""5.5""#, "5.50"),
        ("5.5", "5.50"),
        (r#"".5""#, "0.50"),
        (r#""1.""#, "1.00"),
        (r#""007.50""#, "7.50"),
        (r#""+5""#, "5.00"),
        (r#"" 12.30 ""#, "12.30"),
        ("10.10", "10.10"),
        ("1e3", "1000.00"),
        (r#""1e3""#, "1000.00"),
        (r#""1e-2""#, "0.01"),
        ("99999999.99", "99999999.99"),
        (r#""99999999.99""#, "99999999.99"),
        ("12.340", "12.34"),
        ("1.0", "1.00"),
        ("0", "0.00"),
        (r#""0.00""#, "0.00"),
    ];
    let bad = [
        (r#""12.345""#, PLACES),
        ("12.345", PLACES),
        (r#""1.500""#, PLACES),
        (r#""0.000""#, PLACES),
        (r#""1e-3""#, PLACES),
        (r#""100000000""#, WHOLE),
        ("100000000", WHOLE),
        (r#""1e8""#, WHOLE),
        (r#""100000000.00""#, DIGITS),
        (r#""123456789012""#, DIGITS),
        (r#""99999999.999""#, DIGITS),
        ("0.30000000000000004", DIGITS),
        (r#""1e1000000""#, DIGITS),
        (r#""abc""#, NUMBER),
        (r#""""#, NUMBER),
        (r#""  ""#, NUMBER),
        (r#""1,5""#, NUMBER),
        (r#""$5""#, NUMBER),
        (r#""0x10""#, NUMBER),
        (r#""NaN""#, NUMBER),
        (r#""Infinity""#, NUMBER),
        ("true", NUMBER),
        ("[]", NUMBER),
        ("{}", NUMBER),
        ("1e400", NUMBER),
        ("null", "This field may not be null."),
        (&format!("\"{long}\""), "String value too large."),
    ];
    let mut mismatches = Mismatches::default();
    let send = async |price: &str| {
        let text = format!(r#"{{"name":"thing","price":{price},"category":{},"stock":1}}"#, shelf.category);
        shelf.app.send(&Request::post("/api/products/").bearer(&shelf.staff.access).json_text(text)).await
    };
    for (sent, stored) in good {
        let answer = send(sent).await;
        let holds =
            answer.status == 201 && answer.json::<Value>().is_ok_and(|found| found["price"] == stored);
        mismatches
            .check(holds, || format!("{sent}: wants {stored}, got {} {}", answer.status, answer.text()));
    }
    for (sent, message) in bad {
        let answer = send(sent).await;
        let holds = is_refusal(&answer, &json!({"price": [message]}));
        mismatches
            .check(holds, || format!("{sent:.40}: wants {message}, got {} {}", answer.status, answer.text()));
    }
    for sent in ["-1", r#""-1""#, r#""-0.01""#] {
        let answer = send(sent).await;
        mismatches.check(answer.status == 400, || format!("{sent}: {} {}", answer.status, answer.text()));
    }
    mismatches.none();
}

#[tokio::test]
async fn stocks_and_categories_are_read_as_the_reference_does() {
    let shelf = Shelf::new().await;
    const INTEGER: &str = "A valid integer is required.";
    const MOST: &str = "Ensure this value is less than or equal to 2147483647.";
    const LEAST: &str = "Ensure this value is greater than or equal to 0.";
    let missing = |id: &str| format!("Invalid pk \"{id}\" - object does not exist.");
    let kind = |kind: &str| format!("Incorrect type. Expected pk value, received {kind}.");
    let rows = [
        ("stock", "-1", LEAST.to_owned()),
        ("stock", r#""-1""#, LEAST.to_owned()),
        ("stock", "2147483648", MOST.to_owned()),
        ("stock", "100000000000000000000", MOST.to_owned()),
        ("stock", "1.5", INTEGER.to_owned()),
        ("stock", r#""1.5""#, INTEGER.to_owned()),
        ("stock", r#""abc""#, INTEGER.to_owned()),
        ("stock", r#""1e3""#, INTEGER.to_owned()),
        ("stock", r#""""#, INTEGER.to_owned()),
        ("stock", "true", INTEGER.to_owned()),
        ("stock", "[]", INTEGER.to_owned()),
        ("stock", "{}", INTEGER.to_owned()),
        ("stock", "1e400", INTEGER.to_owned()),
        ("stock", "null", "This field may not be null.".to_owned()),
        ("category", "999999999", missing("999999999")),
        ("category", "0", missing("0")),
        ("category", "-1", missing("-1")),
        ("category", r#""999999999""#, missing("999999999")),
        ("category", "9223372036854775808", missing("9223372036854775808")),
        ("category", "100000000000000000000", missing("100000000000000000000")),
        ("category", r#""abc""#, kind("str")),
        ("category", r#"" ""#, kind("str")),
        ("category", r#""1.0""#, kind("str")),
        ("category", "true", kind("bool")),
        ("category", "[]", kind("list")),
        ("category", "{}", kind("dict")),
        ("category", "null", "This field may not be null.".to_owned()),
        ("category", r#""""#, "This field may not be null.".to_owned()),
        ("name", "null", "This field may not be null.".to_owned()),
        ("name", r#""  ""#, "This field may not be blank.".to_owned()),
        ("name", "true", "Not a valid string.".to_owned()),
        ("description", "true", "Not a valid string.".to_owned()),
    ];
    let mut mismatches = Mismatches::default();
    for (field, value, message) in rows {
        let body = with_field(&shelf, field, value);
        let request = Request::post("/api/products/").bearer(&shelf.staff.access).json_text(body);
        let answer = shelf.app.send(&request).await;
        let holds = answer.status == 400
            && answer.json::<Value>().is_ok_and(|found| found == json!({field: [message]}));
        mismatches.check(holds, || {
            format!("{field}={value}: wants {message}, got {} {}", answer.status, answer.text())
        });
    }
    let body = with_field(&shelf, "category", "1e400");
    let answer =
        shelf.app.send(&Request::post("/api/products/").bearer(&shelf.staff.access).json_text(body)).await;
    mismatches.check(answer.status == 400, || format!("category=1e400: {}", answer.text()));
    for (value, stored) in [("0", 0), ("2147483647", 2_147_483_647), (r#""5""#, 5)] {
        let request = Request::post("/api/products/").bearer(&shelf.staff.access);
        let answer = shelf.app.send(&request.json_text(with_field(&shelf, "stock", value))).await;
        let holds =
            answer.status == 201 && answer.json::<Value>().is_ok_and(|found| found["stock"] == json!(stored));
        mismatches.check(holds, || format!("stock={value}: {} {}", answer.status, answer.text()));
    }
    let empty = shelf.app.post_as(&shelf.staff, "/api/products/", &json!({})).await.expect_json(400);
    let required = json!(["This field is required."]);
    let expected = json!({"name": required, "price": required, "category": required, "stock": required});
    mismatches.check(empty == expected, || empty.to_string());
    mismatches.none();
}

fn with_field(shelf: &Shelf, field: &str, value: &str) -> String {
    let parts = [
        ("name", "\"thing\"".to_owned()),
        ("price", "1".to_owned()),
        ("category", shelf.category.to_string()),
    ];
    let mut parts: Vec<(&str, String)> = parts.into_iter().chain([("stock", "1".to_owned())]).collect();
    parts.retain(|(name, _)| *name != field);
    parts.push((field, value.to_owned()));
    let members: Vec<String> = parts.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

#[tokio::test]
async fn a_refused_edit_changes_nothing() {
    let shelf = Shelf::new().await;
    let product = shelf.add("lamp", "5.00", 3).await;
    let path = format!("/api/products/{product}/");
    let before = shelf.app.get(&path).await.expect_json(200);
    for body in [
        json!({"price": "1.00", "stock": -1}),
        json!({"name": "x", "category": 999_999}),
        json!({"name": ""}),
    ] {
        shelf.app.patch_as(&shelf.staff, &path, &body).await.expect_status(400);
        shelf.app.put_as(&shelf.staff, &path, &body).await.expect_status(400);
    }
    assert_eq!(shelf.app.get(&path).await.expect_json(200), before);
}

#[tokio::test]
async fn a_sku_is_unique_until_its_product_is_deleted() {
    let shelf = Shelf::new().await;
    let mut body = shelf.body();
    body["sku"] = json!("A-1");
    let first = shelf.app.post_as(&shelf.staff, "/api/products/", &body).await.expect_json(201).id();
    let taken = shelf.app.post_as(&shelf.staff, "/api/products/", &body).await.expect_json(400);
    assert!(taken["sku"].is_array(), "{taken}");
    shelf.app.delete_as(&shelf.staff, &format!("/api/products/{first}/")).await.expect_status(204);
    let second = shelf.app.post_as(&shelf.staff, "/api/products/", &body).await.expect_json(201).id();
    assert_ne!(first, second);
}

#[tokio::test]
async fn deleting_a_category_takes_its_products_along_and_orders_keep_theirs() {
    let shelf = Shelf::new().await;
    let product = shelf.add("lamp", "5.00", 3).await;
    let customer = shelf.app.customer("anna").await;
    let order = shelf.app.placed(&customer, product, 2).await;
    let cart = json!({"product": product, "quantity": 1});
    shelf.app.post_as(&customer, "/api/cart/items/", &cart).await.expect_status(201);
    shelf
        .app
        .delete_as(&shelf.staff, &format!("/api/categories/{}/", shelf.category))
        .await
        .expect_status(204);
    shelf.app.get(&format!("/api/products/{product}/")).await.expect_status(404);
    assert_eq!(shelf.app.get("/api/products/").await.expect_json(200), json!([]));
    assert_eq!(shelf.app.get_as(&customer, "/api/cart/").await.expect_json(200)["items"], json!([]));
    let kept = shelf.app.get_as(&customer, &format!("/api/orders/{}/", order.id())).await.expect_json(200);
    assert_eq!(kept["items"][0]["name"], "lamp");
    let answer = shelf.app.order(&customer, product, 1).await;
    assert!(answer.expect_json(400)["items"].is_array());
    // A return goes to the deleted product's stock.
    let cancel = format!("/api/orders/{}/cancel/", order.id());
    shelf.app.post_as(&customer, &cancel, &json!({})).await.expect_status(200);
    shelf.app.audit_is_clean(&shelf.staff).await;
}

#[tokio::test]
async fn search_finds_every_word_as_a_substring_in_any_case() {
    let shelf = Shelf::new().await;
    let add = async |name: &str, description: Option<&str>, sku: Option<&str>| {
        let mut body = shelf.body();
        body["name"] = json!(name);
        body["description"] = json!(description);
        body["sku"] = json!(sku);
        shelf.app.post_as(&shelf.staff, "/api/products/", &body).await.expect_json(201).id()
    };
    let a = add("Red Lamp", Some("bright 100% light"), Some("RL_77")).await;
    let b = add("Éclair", Some("pâtisserie"), None).await;
    let c = add("Ноутбук", None, Some("NB-1")).await;
    let d = add("Lampshade (blue)", Some(r"a\b it's"), None).await;
    let rows: [(&str, &[i64]); 24] = [
        ("lamp", &[a, d]),
        ("LAMP", &[a, d]),
        ("lamp red", &[a]),
        ("red,lamp", &[a]),
        ("amp", &[a, d]),
        ("lamp bright", &[a]),
        ("bright blue", &[]),
        ("100%", &[a]),
        ("%", &[a]),
        ("_", &[a]),
        ("rl_7", &[a]),
        ("éclair", &[b]),
        ("ÉCLAIR", &[b]),
        ("eclair", &[]),
        ("ноут", &[c]),
        ("nb-1", &[c]),
        ("\"red lamp\"", &[a]),
        ("\"lamp red\"", &[]),
        ("(blue)", &[d]),
        ("a\\b", &[d]),
        ("it's", &[d]),
        ("nothing", &[]),
        ("", &[a, b, c, d]),
        (" , ", &[a, b, c, d]),
    ];
    let mut mismatches = Mismatches::default();
    for (words, expected) in rows {
        let path = format!("/api/products/?search={}", percent(words));
        let answer = shelf.app.get(&path).await;
        let mut found = answer.json::<Value>().map(|found| found.ids()).unwrap_or_default();
        found.sort_unstable();
        mismatches.check(answer.status == 200 && found == expected, || {
            format!("{words:?}: wants {expected:?}, got {} {found:?}", answer.status)
        });
    }
    let last = shelf.app.get("/api/products/?search=lamp&search=ноут").await;
    mismatches.check(last.status == 200 || last.status == 400, || last.text());
    for odd in ["/api/products/?search=%00", "/api/products/?search=%FF%FE"] {
        let status = shelf.app.get(odd).await.status;
        mismatches.check([200, 400].contains(&status), || format!("{odd}: {status}"));
    }
    mismatches.none();
}

pub(crate) fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn ordering_sorts_by_several_columns_and_breaks_ties_by_id() {
    let shelf = Shelf::new().await;
    let mut ids = Vec::new();
    for (name, price, stock) in [("b", "2.00", 1), ("a", "10.00", 1), ("c", "2.00", 9), ("d", "2.00", 1)] {
        ids.push(shelf.add(name, price, stock).await);
    }
    let [b, a, c, d] = ids[..] else { panic!() };
    let rows: [(&str, [i64; 4]); 9] = [
        ("price", [b, c, d, a]),
        ("-price", [a, b, c, d]),
        ("price,-stock", [c, b, d, a]),
        ("stock,price", [b, d, a, c]),
        ("name", [a, b, c, d]),
        ("-name", [d, c, b, a]),
        ("created_at", [b, a, c, d]),
        ("-created_at", [d, c, a, b]),
        ("nonsense, price", [b, c, d, a]),
    ];
    let mut mismatches = Mismatches::default();
    for (ordering, expected) in rows {
        let plain = shelf.app.get(&format!("/api/products/?ordering={}", percent(ordering))).await;
        let found = plain.json::<Value>().map(|found| found.ids()).unwrap_or_default();
        // "-price" leaves ties to the id, in either direction.
        let tie_free =
            ordering == "-price" && plain.status == 200 && found.first() == Some(&a) && found.len() == 4;
        mismatches.check(found == expected || tie_free, || {
            format!("{ordering}: wants {expected:?}, got {found:?}")
        });
        let walked =
            walk(&shelf.app, &format!("/api/products/?page_size=1&ordering={}", percent(ordering))).await;
        mismatches.check(walked == found, || format!("{ordering} in pages: {walked:?}, whole: {found:?}"));
    }
    for odd in ["", "?", "--price", "price;stock", "id"] {
        let answer = shelf.app.get(&format!("/api/products/?ordering={}", percent(odd))).await;
        let mut found = answer.json::<Value>().map(|found| found.ids()).unwrap_or_default();
        found.sort_unstable();
        mismatches.check(found == ids, || format!("{odd}: {} {found:?}", answer.status));
    }
    mismatches.none();
}

#[tokio::test]
async fn filters_combine_with_search_and_ordering() {
    let shelf = Shelf::new().await;
    let other = shelf.app.category(&shelf.staff, "other").await;
    let a = shelf.add("red lamp", "5.00", 0).await;
    let b = shelf.add("blue lamp", "10.00", 4).await;
    let c = shelf.app.product_in(&shelf.staff, other, "green lamp", "15.00", 2).await;
    let one = shelf.category;
    let rows: [(String, &[i64]); 10] = [
        (format!("category={one}"), &[a, b]),
        (format!("category={one},{other}"), &[a, b, c]),
        ("category=999999".to_owned(), &[]),
        ("min_price=10".to_owned(), &[b, c]),
        ("max_price=10.00".to_owned(), &[a, b]),
        ("min_price=5.01&max_price=14.99".to_owned(), &[b]),
        ("in_stock=true".to_owned(), &[b, c]),
        (format!("in_stock=true&search=lamp&category={one}"), &[b]),
        ("search=green&max_price=1".to_owned(), &[]),
        ("ordering=price&in_stock=true&min_price=0".to_owned(), &[b, c]),
    ];
    let mut mismatches = Mismatches::default();
    for (query, expected) in rows {
        let answer = shelf.app.get(&format!("/api/products/?{query}")).await;
        let mut found = answer.json::<Value>().map(|found| found.ids()).unwrap_or_default();
        found.sort_unstable();
        mismatches.check(found == expected, || {
            format!("{query}: wants {expected:?}, got {} {found:?}", answer.status)
        });
    }
    for query in
        ["category=x", "min_price=abc", "max_price=1e9999", "in_stock=maybe", "category=99999999999999999999"]
    {
        let answer = shelf.app.get(&format!("/api/products/?{query}")).await;
        mismatches.check([200, 400].contains(&answer.status), || format!("{query}: {}", answer.status));
    }
    mismatches.none();
}

/// A stock knows of which category its product is, as long as every way to write a product says so.
#[tokio::test]
async fn a_category_by_stock_has_what_was_moved_into_it_and_nothing_that_left() {
    let shelf = Shelf::new().await;
    let (app, staff, one) = (&shelf.app, &shelf.staff, shelf.category);
    let other = app.category(staff, "other").await;
    let a = shelf.add("red lamp", "5.00", 5).await;
    let b = shelf.add("blue lamp", "5.00", 7).await;
    let c = app.product_in(staff, other, "green lamp", "5.00", 6).await;
    let gone = app.product_in(staff, other, "no lamp", "5.00", 9).await;
    let rows = "sku,name,category,price,stock\nI,imported lamp,all,5,8\nM,moved lamp,all,5,3\n";
    let moved = "sku,category\nM,other\n";
    for rows in [rows, moved] {
        let request = Request::post("/api/products/import/").bearer(&staff.access).body("text/csv", rows);
        app.send(&request).await.expect_status(200);
    }
    // As a program does that knows nothing of it.
    app.sql(&format!(
        "INSERT INTO products (id, sku, name, price_cents, category_id) VALUES (1000, 'O', 'old lamp', 500, {one});
         INSERT INTO stock (product_id, quantity) VALUES (1000, 4)"
    ))
    .await;
    app.patch_as(staff, &format!("/api/products/{a}/"), &json!({"category": other})).await.expect_status(200);
    app.delete_as(staff, &format!("/api/products/{gone}/")).await.expect_status(204);
    let rows = app.database().rows("SELECT id FROM products WHERE sku IN ('I', 'M') ORDER BY sku").await;
    let [i, m] = [0, 1].map(|at| rows[at].get::<_, i64>(0));
    let listed = async |query: &str| app.get(&format!("/api/products/?{query}")).await.expect_json(200).ids();
    assert_eq!(listed(&format!("ordering=-stock&category={one}")).await, [i, b, 1000]);
    assert_eq!(listed(&format!("ordering=-stock&category={other}")).await, [c, a, m]);
    assert_eq!(
        listed(&format!("ordering=stock&category={other}&in_stock=true&search=lamp")).await,
        [m, a, c]
    );
    assert_eq!(listed(&format!("ordering=-stock&category={one},{other}")).await, [i, b, c, a, 1000, m]);
    let strays = "SELECT product_id FROM stock JOIN products ON id = product_id
        WHERE stock.category_id IS DISTINCT FROM products.category_id OR listed <> (deleted_at IS NULL)";
    let strays: Vec<i64> = app.database().rows(strays).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(strays, [1000], "these are looked up each time, or never found");
}

#[tokio::test]
async fn pages_give_every_product_once_whatever_their_size() {
    let shelf = Shelf::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(shelf.add(&format!("p{n}"), "1.00", n).await);
    }
    for size in [1, 2, 3, 7, 1000] {
        let mut walked = walk(&shelf.app, &format!("/api/products/?page_size={size}")).await;
        walked.sort_unstable();
        assert_eq!(walked, ids, "pages of {size}");
    }
    let first = shelf.app.get("/api/products/?page_size=3").await;
    assert_eq!(first.expect_json(200).ids().len(), 3);
    assert!(first.header("link").is_some());
    for odd in [
        "cursor=garbage",
        "cursor=AAAA",
        "page_size=0",
        "page_size=-1",
        "page_size=x",
        "page_size=99999999999999999999",
    ] {
        let status = shelf.app.get(&format!("/api/products/?{odd}")).await.status;
        assert!([200, 400, 404].contains(&status), "{odd}: {status}");
    }
}

#[tokio::test]
async fn a_correction_adds_and_takes_but_never_below_zero() {
    let shelf = Shelf::new().await;
    let product = shelf.add("lamp", "5.00", 3).await;
    let path = format!("/api/products/{product}/stock/");
    let correct = async |delta: Value, reason: &str| {
        shelf.app.post_as(&shelf.staff, &path, &json!({"delta": delta, "reason": reason})).await
    };
    assert_eq!(correct(json!(5), "delivery").await.expect_json(200)["stock"], json!(8));
    assert_eq!(correct(json!(-8), "broken").await.expect_json(200)["stock"], json!(0));
    correct(json!(-1), "one too many").await.expect_status(409);
    for delta in [json!(null), json!("x"), json!(1.5), json!(99_999_999_999_999_999_i64), json!([])] {
        let status = correct(delta.clone(), "odd").await.status;
        assert!([400, 409].contains(&status), "{delta}: {status}");
    }
    assert_eq!(shelf.app.stock(product).await, 0);
    let missing = json!({"delta": 1, "reason": "x"});
    shelf.app.post_as(&shelf.staff, "/api/products/999999/stock/", &missing).await.expect_status(404);
    shelf.app.audit_is_clean(&shelf.staff).await;
}

#[tokio::test]
async fn an_etag_saves_the_body_and_guards_the_edit() {
    let shelf = Shelf::new().await;
    let product = shelf.add("lamp", "5.00", 3).await;
    let path = format!("/api/products/{product}/");
    let answer = shelf.app.get(&path).await;
    let tag = answer.header("etag").expect("an ETag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    let same = shelf.app.send(&Request::get(&path).header("if-none-match", &tag)).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let edit = async |tag: &str, body: Value| {
        shelf
            .app
            .send(&Request::patch(&path).bearer(&shelf.staff.access).header("if-match", tag).json(&body))
            .await
    };
    // A sale in between is no conflict, but another state to read.
    let customer = shelf.app.customer("anna").await;
    shelf.app.placed(&customer, product, 1).await;
    shelf.app.send(&Request::get(&path).header("if-none-match", &tag)).await.expect_status(200);
    edit(&tag, json!({"price": "6.00"})).await.expect_status(200);
    edit(&tag, json!({"price": "7.00"})).await.expect_status(412);
    edit("\"nonsense\"", json!({"price": "7.00"})).await.expect_status(412);
    edit("*", json!({"price": "8.00"})).await.expect_status(200);
    let delete = Request::delete(&path).bearer(&shelf.staff.access).header("if-match", &tag);
    shelf.app.send(&delete).await.expect_status(412);
    assert_eq!(shelf.app.get(&path).await.expect_json(200)["price"], "8.00");
}

#[tokio::test]
async fn a_repeated_creation_with_one_key_makes_one_product() {
    let shelf = Shelf::new().await;
    let post = async |path: &str, body: &Value| {
        let request = Request::post(path).bearer(&shelf.staff.access).header("idempotency-key", "k-1");
        shelf.app.send(&request.json(body)).await
    };
    let first = post("/api/products/", &shelf.body()).await;
    let again = post("/api/products/", &shelf.body()).await;
    assert_eq!(first.expect_json(201), again.expect_json(201));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    let mut other = shelf.body();
    other["stock"] = json!(2);
    post("/api/products/", &other).await.expect_status(422);
    // Another path is another scope.
    let category = json!({"name": "new"});
    let made = post("/api/categories/", &category).await.expect_json(201);
    let replayed = post("/api/categories/", &category).await;
    assert_eq!(replayed.expect_json(201), made);
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    assert_eq!(shelf.app.get("/api/products/").await.expect_json(200).ids().len(), 1);
}

#[tokio::test]
async fn methods_ids_and_content_types_are_negotiated_as_the_reference_does() {
    let shelf = Shelf::new().await;
    let product = shelf.add("lamp", "5.00", 3).await;
    let app = &shelf.app;
    let put = app.put_as(&shelf.staff, "/api/products/", &json!({})).await;
    assert_eq!(put.expect_json(405), json!({"detail": "Method \"PUT\" not allowed."}));
    assert_eq!(put.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    let post = app.post_as(&shelf.staff, &format!("/api/products/{product}/"), &json!({})).await;
    assert_eq!(post.expect_status(405).header("allow"), Some("GET, PUT, PATCH, DELETE, HEAD, OPTIONS"));
    let get = app.get("/api/auth/login/").await;
    assert_eq!(get.expect_status(405).header("allow"), Some("POST, OPTIONS"));
    for (path, detail) in [
        ("/api/products/0/", "No Product matches the given query."),
        ("/api/products/-1/", "No Product matches the given query."),
        ("/api/products/99999999999999999999999/", "No Product matches the given query."),
        ("/api/categories/999999/", "No Category matches the given query."),
        ("/api/products/abc/", "Not found."),
    ] {
        assert_eq!(app.get(path).await.expect_json(404), json!({"detail": detail}), "{path}");
    }
    for path in ["/api/nowhere/", "/api/products/1.5/", "/API/products/", "/api/products/1/2/"] {
        assert!(app.get(path).await.expect_json(404)["detail"].is_string(), "{path}");
    }
    app.get("/api/products").await.expect_status(200);
    app.get(&format!("/api/products/{product}")).await.expect_status(200);
    for (accept, status) in
        [("application/json", 200), ("*/*", 200), ("application/*", 200), ("application/xml", 406)]
    {
        let answer = app.send(&Request::get("/api/products/").header("accept", accept)).await;
        assert_eq!(answer.status, status, "{accept}");
    }
    let head = app.send(&Request::new(hyper::Method::HEAD, "/api/products/")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let options = app.send(&Request::new(hyper::Method::OPTIONS, "/api/products/")).await;
    assert!([200, 204].contains(&options.status) && options.header("allow").is_some());
    let form = Request::post("/api/categories/").bearer(&shelf.staff.access);
    let form = form.body("application/x-www-form-urlencoded", "name=first&name=by+form");
    assert_eq!(app.send(&form).await.expect_json(201)["name"], "by form");
    let text = Request::post("/api/categories/").bearer(&shelf.staff.access).body("text/plain", "name=x");
    let answer = app.send(&text).await;
    assert_eq!(
        answer.expect_json(415),
        json!({"detail": "Unsupported media type \"text/plain\" in request."})
    );
}
