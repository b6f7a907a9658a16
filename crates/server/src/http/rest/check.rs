//! The self-test page: static files, and who may show it in a frame. Knows nothing of what the page finds out.

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::get;

/// The paths of the page; `ancestors` tells the origins that may show it in a frame, at each request.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    ancestors: impl Fn() -> Vec<String> + Clone + Send + Sync + 'static,
) -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| {
        let ancestors = ancestors.clone();
        router.route(
            file.path,
            get(move || async move { file.answer(&ancestors()) }),
        )
    })
}

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl File {
    fn answer(&self, ancestors: &[String]) -> Response {
        let mut response = Response::new(Body::from(self.text));
        let headers = response.headers_mut();
        for (name, value) in [
            ("content-type", self.kind),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            // The page may be newer than the server it was kept from.
            ("cache-control", "no-cache"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let policy = format!("{POLICY}; frame-ancestors 'self' {}", ancestors.join(" "));
        // Origins are of ASCII, so this cannot fail; a page without a policy is none.
        match HeaderValue::try_from(policy.trim_end()) {
            Ok(policy) => headers.insert("content-security-policy", policy),
            Err(_) => return super::unknown_page(),
        };
        response
    }
}

const FILES: [File; 6] = [
    File {
        path: "/check",
        kind: "text/html; charset=utf-8",
        text: include_str!("check/check.html"),
    },
    File {
        path: "/check.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("check/check.css"),
    },
    File {
        path: "/check.js",
        kind: SCRIPT,
        text: include_str!("check/check.js"),
    },
    File {
        path: "/check/relay.js",
        kind: SCRIPT,
        text: include_str!("check/relay.js"),
    },
    File {
        path: "/check/verdicts.js",
        kind: SCRIPT,
        text: include_str!("check/verdicts.js"),
    },
    File {
        path: "/check/widget.js",
        kind: SCRIPT,
        text: include_str!("check/widget.js"),
    },
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'";
