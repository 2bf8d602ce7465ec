//! Limits by themselves: windows, bursts, costs, calendars.

use portcullis_ir::Calendar;

use super::{Case, plain, quota};
use crate::policy::limit::store::tests::window;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "a bucket empties at once and refills evenly",
            limits: vec![window(10, 1000, Some(3))],
            edit: |_| {},
            steps: plain(vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (99, "a", 1, false),
                (100, "a", 1, true),
                (100, "a", 1, false),
                (400, "a", 3, true),
                (10_000, "a", 3, true),
                (10_000, "a", 1, false),
            ]),
        },
        Case {
            name: "keys have buckets of their own",
            limits: vec![window(1, 60_000, None)],
            edit: |_| {},
            steps: plain(vec![(0, "a", 1, true), (0, "b", 1, true), (0, "a", 1, false), (0, "b", 1, false)]),
        },
        Case {
            name: "what one limit refuses consumes from none",
            limits: vec![window(2, 1000, None), window(3, 60_000, None)],
            edit: |_| {},
            steps: plain(vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (0, "a", 1, false),
                (1000, "a", 1, true),
                (1000, "a", 1, false),
                (21_000, "a", 1, true),
            ]),
        },
        Case {
            name: "a request that costs more takes more, or nothing",
            limits: vec![window(10, 10_000, None)],
            edit: |_| {},
            steps: plain(vec![
                (0, "a", 7, true),
                (0, "a", 4, false),
                (0, "a", 3, true),
                (0, "a", 11, false),
                (20_000, "a", 11, false),
                (20_000, "a", 10, true),
            ]),
        },
        Case {
            name: "a window and a quota hold together",
            limits: vec![window(2, 1000, None), quota(3, Calendar::Day)],
            edit: |_| {},
            steps: plain(vec![
                (0, "a", 1, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (1500, "a", 1, true),
                (1600, "a", 1, false),
                (2000, "a", 1, true),
            ]),
        },
        Case {
            name: "a month and a week are counted side by side",
            limits: vec![quota(2, Calendar::Month), quota(2, Calendar::Week)],
            edit: |_| {},
            steps: plain(vec![
                (0, "a", 2, true),
                (1999, "a", 1, false),
                (2000, "a", 2, true),
                (3_600_000, "a", 1, false),
                (7 * 86_400_000 + 1999, "a", 1, false),
                (7 * 86_400_000 + 2000, "a", 1, false),
                (28 * 86_400_000 + 2000, "a", 1, true),
            ]),
        },
        Case {
            name: "ten thousand bytes are a key",
            limits: vec![window(1, 60_000, None)],
            edit: |_| {},
            steps: plain(vec![(0, "LONG", 1, true), (0, "LONG", 1, false), (0, "a", 1, true)]),
        },
    ];
    for (name, calendar) in [
        ("an hour begins anew", Calendar::Hour),
        ("a day begins anew", Calendar::Day),
        ("a week begins anew", Calendar::Week),
        ("a month begins anew", Calendar::Month),
    ] {
        let steps = vec![
            (0, "a", 1, true),
            (0, "a", 2, true),
            (1999, "a", 1, false),
            (2000, "a", 3, true),
            (2001, "a", 1, false),
            (3_000_000, "a", 1, false),
        ];
        cases.push(Case { name, limits: vec![quota(3, calendar)], edit: |_| {}, steps: plain(steps) });
    }
    cases
}
