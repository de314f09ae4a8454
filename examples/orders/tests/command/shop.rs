//! Running the real command, and counting what it ought to find.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where the recorded orders are, if this checkout has them beside it.
pub(crate) const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/data/orders/olist_orders.csv"
);

/// A directory with a file of orders, in which the command runs.
pub(crate) struct Shop {
    directory: TempDir,
    input: PathBuf,
}

impl Shop {
    /// A shop with `copies` orders of every kind there can be, the odd ones included.
    pub(crate) fn with_every_kind_of_order(copies: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("orders.csv");
        std::fs::write(&input, every_kind_of_order(copies)).unwrap();
        Self { directory, input }
    }

    /// A shop with the orders of a file.
    pub(crate) fn with_orders_of(input: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let input = input.canonicalize().unwrap();
        Self { directory, input }
    }

    /// The arguments that make the command take these orders, wherever it runs.
    #[cfg(feature = "distributed")]
    pub(crate) fn world(&self) -> Vec<String> {
        vec!["--input".to_owned(), self.input.display().to_string()]
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the command in the shop's directory.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_orders"))
            .current_dir(self.directory.path())
            .arg("--json")
            .arg("--input")
            .arg(&self.input)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let output = self.start(arguments).wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", output.status);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the command must find, whatever happens on the way: counted from the file alone.
    pub(crate) fn expected(&self) -> Value {
        let mut events: BTreeMap<&str, u64> = KINDS.map(|kind| (kind, 0)).into();
        let mut orders = 0;
        for row in csv::Reader::from_path(&self.input).unwrap().records() {
            let row = row.unwrap();
            let [approved, carrier, delivered] = [4, 5, 6].map(|column| !row[column].is_empty());
            let is_off = ["canceled", "unavailable"].contains(&&row[2]);
            let steps = [
                ("order.created", true),
                ("order.payment", approved),
                ("order.processing", approved),
                ("order.shipped", approved && carrier),
                ("order.signed", approved && carrier && delivered),
                ("order.signed_received", approved && carrier && delivered),
                ("order.updated", is_off),
            ];
            for (kind, happens) in steps {
                *events.get_mut(kind).unwrap() += u64::from(happens);
            }
            orders += 1;
        }
        serde_json::json!({
            "orders": orders,
            "charged": events["order.payment"],
            "events": events,
            "charged_twice": 0,
            "out_of_order": 0,
            "dead_letters": 0,
        })
    }
}

const KINDS: [&str; 7] = [
    "order.created",
    "order.payment",
    "order.processing",
    "order.shipped",
    "order.signed",
    "order.signed_received",
    "order.updated",
];

/// Asserts that a summary says what is expected, and says how long it took besides.
#[track_caller]
pub(crate) fn assert_summary(summary: &Value, expected: &Value) {
    for (field, expected) in expected.as_object().unwrap() {
        assert_eq!(&summary[field], expected, "{field} of {summary}");
    }
    for figure in ["retries", "seconds", "events_per_second"] {
        assert!(summary[figure].is_number(), "{figure} of {summary}");
    }
}

/// Orders with every combination of status and steps, in the format of the recorded file.
fn every_kind_of_order(copies: usize) -> String {
    let mut csv = String::from(
        "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,\
         order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date\n",
    );
    // The step before may well be later: recorded times are like that.
    let times = ["10/2/2017 11:07", "10/1/2017 9:05", "10/10/2017 21:25"];
    for copy in 0..copies {
        for status in ["delivered", "shipped", "created", "canceled", "unavailable"] {
            for steps in 0..8 {
                let step = |step: usize| {
                    if steps & (1 << step) != 0 {
                        times[step]
                    } else {
                        ""
                    }
                };
                csv += &format!(
                    "{status}-{steps}-{copy},c-{copy},{status},10/2/2017 10:56,{},{},{},\n",
                    step(0),
                    step(1),
                    step(2)
                );
            }
        }
    }
    csv
}
