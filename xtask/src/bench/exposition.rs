//! Figures out of a processor's /metrics, in Prometheus' text format.

/// Sum of all samples of a metric whose labels contain `label` (any, if it is empty); `None` when there is none.
pub fn sum(text: &str, name: &str, label: &str) -> Option<f64> {
    let mut found = None;
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
        if metric == name
            && labels.contains(label)
            && let Ok(value) = value.parse::<f64>()
        {
            *found.get_or_insert(0.0) += value;
        }
    }
    found
}

/// Mean of a histogram or summary; `None` when nothing was recorded.
pub fn mean(text: &str, name: &str) -> Option<f64> {
    let total = sum(text, &format!("{name}_sum"), "")?;
    let count = sum(text, &format!("{name}_count"), "")?;
    (count > 0.0).then(|| total / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE lag gauge\nlag{topic=\"a\",partition=\"0\"} 3\nlag{topic=\"b\",partition=\"0\"} 4\n\
        lag_more 9\nsizes_sum 30\nsizes_count 4\nempty_sum 0\nempty_count 0\n";

    #[test]
    fn samples_are_added_up_by_name_and_label() {
        assert_eq!(sum(TEXT, "lag", ""), Some(7.0));
        assert_eq!(sum(TEXT, "lag", "topic=\"b\""), Some(4.0));
        assert_eq!(sum(TEXT, "lag", "topic=\"c\""), None);
    }

    #[test]
    fn a_mean_needs_something_recorded() {
        assert_eq!(mean(TEXT, "sizes"), Some(7.5));
        assert_eq!(mean(TEXT, "empty"), None);
    }
}
