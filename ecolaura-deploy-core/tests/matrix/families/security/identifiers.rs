//! Names in data checks that would be SQL.

#[cfg(not(feature = "sqlite"))]
pub(super) fn all() -> Vec<crate::families::Cell> {
    let names = ["table", "column", "query-that-writes", "query-of-two"];
    super::left_out("S", "sqlite", &names.map(|name| format!("identifiers/{name}")).each_ref().map(String::as_str))
}

#[cfg(feature = "sqlite")]
pub(super) use self::embedded::all;

#[cfg(feature = "sqlite")]
mod embedded {
    use ecolaura_deploy_core::{
        backend::{AllowedChange, DataCheck, Migrator as _},
        sqlite::SqliteMigrator,
    };

    use super::super::{Sprung, Yard, block, cx, trap};
    use crate::families::Cell;

    const TABLES: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER);
        INSERT INTO orders (total) VALUES (7), (9);";

    pub(in super::super) fn all() -> Vec<Cell> {
        let hostile =
            ["orders\"; DROP TABLE orders; --", "orders; DROP TABLE orders", "orders WHERE 0 --", "(SELECT 1)"];
        let allowed = AllowedChange::None;
        let tables = hostile.map(|table| DataCheck::RowCount { table: table.to_owned(), allowed });
        let columns =
            hostile.map(|column| DataCheck::Sum { table: "orders".to_owned(), column: column.to_owned(), allowed });
        let query = |sql: &str| vec![DataCheck::Query { name: "mine".to_owned(), sql: sql.to_owned(), allowed }];
        vec![
            check("table", tables.into(), true),
            check("column", columns.into(), true),
            check("query-that-writes", query("DELETE FROM orders RETURNING 1"), false),
            check("query-of-two", query("SELECT 1; DROP TABLE orders"), false),
        ]
    }

    /// What names nothing is not there; what writes is refused by the name of its check. The data stays.
    fn check(name: &str, checks: Vec<DataCheck>, absent: bool) -> Cell {
        trap(format!("identifiers/{name}"), move || {
            let yard = Yard::new();
            std::fs::remove_file(yard.inside().join("index.html")).unwrap();
            yard.put("1_orders.sql", TABLES);
            let migrator = SqliteMigrator::new(yard.path("inside/app.sqlite"), yard.inside(), "db".parse().unwrap());
            block(migrator.migrate(&cx(), ecolaura_deploy_core::vocabulary::MigrationVersion(1)))
                .map_err(|error| error.report())?;
            let measured = block(migrator.measure(&cx(), &checks));
            match &measured {
                Ok(found) if absent && found.0.values().all(Option::is_none) => {}
                Err(error) if !absent && error.report().contains("mine") => {}
                other => return Err(format!("{other:?}")),
            }
            intact(&migrator)
        })
    }

    fn intact(migrator: &SqliteMigrator) -> Sprung {
        let sum =
            DataCheck::Sum { table: "orders".to_owned(), column: "total".to_owned(), allowed: AllowedChange::None };
        let found = block(migrator.measure(&cx(), &[sum])).map_err(|error| error.report())?;
        match found.0.values().next() {
            Some(Some(16)) => Ok(()),
            other => Err(format!("the orders now sum up to {other:?}")),
        }
    }
}
