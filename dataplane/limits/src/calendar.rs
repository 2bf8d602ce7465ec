//! Periods of the calendar, in UTC. The script of the shared store computes the same (`take.lua`).

use portcullis_ir::Calendar;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// One period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Counted from 1970, each kind of calendar for itself.
    pub number: u64,
    /// When it ends: seconds since 1970.
    pub end: u64,
}

/// The period that holds a second since 1970.
pub fn period(calendar: Calendar, unix: u64) -> Period {
    let days = unix / DAY;
    match calendar {
        Calendar::Hour => Period { number: unix / HOUR, end: (unix / HOUR + 1) * HOUR },
        Calendar::Day => Period { number: days, end: (days + 1) * DAY },
        Calendar::Week => {
            // 1970 began on a Thursday; weeks begin on Monday (ISO 8601).
            let number = (days + 3) / 7;
            Period { number, end: ((number + 1) * 7 - 3) * DAY }
        }
        Calendar::Month => {
            let (year, month) = month_of(days);
            let number = (year - 1970) * 12 + (month - 1);
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            Period { number, end: first_day(next_year, next_month) * DAY }
        }
    }
}

/// Year and month (1 to 12) of a day since 1970 in the proleptic Gregorian calendar. Years are taken to begin in March,
/// so that the leap day is the last of its year.
fn month_of(days: u64) -> (u64, u64) {
    // Days since 1 March of year 0; an era is 400 years, after which everything repeats.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * day_of_year + 2) / 153;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month)
}

/// The first day of a month, since 1970.
fn first_day(year: u64, month: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let march_based = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_based + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_where_the_calendar_says() {
        // 2028-02-29T23:30:00Z, a Tuesday.
        let leap_day = 1_835_479_800;
        let ends = |calendar| period(calendar, leap_day).end;
        assert_eq!(ends(Calendar::Hour), 1_835_481_600);
        assert_eq!(ends(Calendar::Day), 1_835_481_600);
        // Monday, 2028-03-06.
        assert_eq!(ends(Calendar::Week), 1_835_913_600);
        // 2028-03-01.
        assert_eq!(ends(Calendar::Month), 1_835_481_600);
        assert_eq!(period(Calendar::Month, leap_day).number, 58 * 12 + 1);
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        for calendar in [Calendar::Hour, Calendar::Day, Calendar::Week, Calendar::Month] {
            let mut now = 1_700_000_000;
            for _ in 0..600 {
                let current = period(calendar, now);
                assert_eq!(period(calendar, current.end - 1), current);
                let next = period(calendar, current.end);
                assert_eq!(next.number, current.number + 1);
                now = current.end;
            }
        }
    }

    #[test]
    fn months_are_as_long_as_they_are() {
        let lengths: Vec<u64> = (0..12)
            .scan(1_735_689_600, |start, _| {
                let end = period(Calendar::Month, *start).end;
                let days = (end - *start) / DAY;
                *start = end;
                Some(days)
            })
            .collect();
        assert_eq!(lengths, [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
    }
}
