//! A configuration file: accepted and ready to route, or refused with places that exist in it.

#![no_main]

use std::io;

use crossfade::config;
use crossfade::router::RouteTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name == "SET").then(|| "1s".to_owned());
    let read = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
    match config::parse(text, "proxy.toml", &env, &read) {
        Ok(loaded) => drop(RouteTable::new(&loaded.config.routes)),
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.split('\n').count();
            for problem in problems {
                assert!(
                    (1..=lines).contains(&problem.line) && problem.column >= 1,
                    "{problem}"
                );
            }
        }
    }
});
