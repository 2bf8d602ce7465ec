#![allow(clippy::unwrap_used)]

use super::*;

fn at(milliseconds: u64) -> Time {
    Time { monotonic: SECOND * 1000 + milliseconds * 1_000_000, unix: 1_800_000_000 + milliseconds / 1000 }
}

fn window(requests: u64, seconds: u64, burst: u64) -> Shape {
    Shape::Window(Window::new(requests, seconds * SECOND, burst))
}

#[test]
fn a_bucket_admits_its_burst_and_refills_evenly() {
    let shape = window(10, 1, 5);
    let mut word = 0;
    for left in (0..5).rev() {
        let (next, standing) = shape.admit(word, 1, at(0)).unwrap();
        assert_eq!(standing.remaining, left);
        word = next;
    }
    let refused = shape.admit(word, 1, at(0)).unwrap_err();
    assert_eq!((refused.remaining, refused.reset, refused.retry), (0, 1, 1));
    assert!(shape.admit(word, 1, at(99)).is_err());
    assert!(shape.admit(word, 1, at(100)).is_ok());
    assert!(shape.admit(word, 5, at(499)).is_err());
    assert!(shape.admit(word, 5, at(500)).is_ok());
}

#[test]
fn a_request_that_costs_more_than_the_limit_never_passes_and_is_told_so() {
    assert_eq!(window(10, 1, 5).admit(0, 6, at(0)).unwrap_err().retry, u64::MAX);
    let quota = Shape::Calendar(Quota { requests: 3, calendar: Calendar::Day });
    assert_eq!(quota.admit(0, 4, at(0)).unwrap_err().retry, u64::MAX);
}

#[test]
fn a_quota_begins_anew_with_its_period_and_not_before() {
    let quota = Shape::Calendar(Quota { requests: 2, calendar: Calendar::Hour });
    let now = Time { monotonic: 1, unix: 7_199 };
    let (word, _) = quota.admit(0, 2, now).unwrap();
    let refused = quota.admit(word, 1, now).unwrap_err();
    assert_eq!((refused.remaining, refused.reset, refused.retry), (0, 1, 1));
    assert!(quota.admit(word, 1, Time { unix: 7_200, ..now }).is_ok());
}

#[test]
fn a_clock_that_jumps_an_hour_refills_nothing() {
    let quota = Shape::Calendar(Quota { requests: 2, calendar: Calendar::Hour });
    let now = Time { monotonic: SECOND, unix: 1_000_000 };
    let ahead = Time { monotonic: SECOND, unix: now.unix + 3600 };
    let (spent_ahead, _) = quota.admit(0, 2, ahead).unwrap();
    assert!(quota.admit(spent_ahead, 1, now).is_err(), "back again, what was spent ahead stays spent");
    let far = Time { unix: now.unix + 40 * 365 * 24 * 3600, ..now };
    let (spent_far, _) = quota.admit(0, 2, far).unwrap();
    assert!(quota.admit(spent_far, 1, now).is_ok(), "a clock that was years ahead locks nobody out");

    let bucket = window(1, 3600, 1);
    let (word, _) = bucket.admit(0, 1, now).unwrap();
    assert!(bucket.admit(word, 1, ahead).is_err(), "windows do not look at the wall clock");
}

#[test]
fn a_changed_limit_keeps_what_was_spent() {
    let before = window(10, 1, 10);
    let (word, _) = before.admit(0, 7, at(0)).unwrap();
    let after = window(100, 60, 20);
    let converted = after.convert(before.mark(), word, at(0));
    assert_eq!(after.standing(converted, at(0)).remaining, 13);
    let smaller = window(5, 1, 5);
    assert_eq!(smaller.standing(smaller.convert(before.mark(), word, at(0)), at(0)).remaining, 0);

    let quota = Shape::Calendar(Quota { requests: 50, calendar: Calendar::Day });
    let converted = quota.convert(before.mark(), word, at(0));
    assert_eq!(quota.standing(converted, at(0)).remaining, 43);
    let weekly = Shape::Calendar(Quota { requests: 50, calendar: Calendar::Week });
    let converted = weekly.convert(quota.mark(), converted, at(0));
    assert_eq!(weekly.standing(converted, at(0)).remaining, 43);
    let back = before.convert(weekly.mark(), converted, at(0));
    assert_eq!(before.standing(back, at(0)).remaining, 3);
}

#[test]
fn what_is_given_back_is_there_again() {
    let now = at(0);
    for shape in [window(10, 1, 5), Shape::Calendar(Quota { requests: 5, calendar: Calendar::Month })] {
        let (word, _) = shape.admit(0, 5, now).unwrap();
        let word = shape.refund(word, 2, now);
        assert_eq!(shape.standing(word, now).remaining, 2);
        assert!(shape.admit(word, 2, now).is_ok() && shape.admit(word, 3, now).is_err());
    }
}

#[test]
fn extreme_limits_neither_divide_by_zero_nor_overflow() {
    for shape in [
        Shape::Window(Window::new(u64::MAX, 1, u64::MAX)),
        Shape::Window(Window::new(1, u64::MAX, u64::MAX)),
        Shape::Window(Window::new(0, 0, 0)),
        Shape::Calendar(Quota { requests: SPENT, calendar: Calendar::Month }),
        window(1, 1, 1).share(u64::MAX),
        window(u64::MAX, 1, 1).multiple(100),
    ] {
        for units in [0, 1, u64::MAX] {
            let word = shape.admit(0, units, at(0)).map_or(0, |(word, _)| word);
            let _ = (shape.standing(word, at(0)), shape.refund(word, units, at(0)), shape.convert(0, word, at(0)));
        }
    }
}

#[test]
fn a_share_is_the_limit_divided_by_the_replicas() {
    let share = window(10, 1, 10).share(2);
    let (word, standing) = share.admit(0, 5, at(0)).unwrap();
    assert_eq!(standing.remaining, 0);
    assert!(share.admit(word, 1, at(199)).is_err() && share.admit(word, 1, at(200)).is_ok());
    assert_eq!(window(1, 1, 1).share(8).most(), 1);
}
