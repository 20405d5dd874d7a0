use arrow::array::Array;
use proptest::prelude::*;

use super::*;
use crate::history::layout::Day;
use crate::history::recorder::tests::rig::change;
use crate::history::rows::ChangeRows;

fn batch(seqs: std::ops::Range<i64>, day: i32) -> HeadBatch {
    let mut rows = ChangeRows::default();
    for seq in seqs {
        rows.push(seq, &change(seq)).unwrap();
    }
    HeadBatch { day: Day(day), batch: rows.take().unwrap().remove(0).batch }
}

fn all_seqs(head: &[HeadBatch]) -> Vec<i64> {
    let seqs = head
        .iter()
        .flat_map(|batch| batch.batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().values().to_vec());
    seqs.collect()
}

#[test]
fn single_rows_are_merged_into_few_batches() {
    let mut head: Arc<[HeadBatch]> = Vec::new().into();
    for seq in 1..=5_000 {
        head = append(&head, [batch(seq..seq + 1, 1)], 0).unwrap();
        assert!(head.len() <= 14, "{} batches for {seq} rows", head.len());
    }
    assert_eq!(all_seqs(&head), (1..=5_000).collect::<Vec<_>>());
}

#[test]
fn rows_before_the_boundary_are_never_merged_with_later_ones() {
    let head = append(&[], [batch(1..4, 1)], 0).unwrap();
    let head = append(&head, [batch(4..8, 1), batch(8..12, 1)], 4).unwrap();
    let ranges: Vec<_> =
        head.iter().filter_map(|batch| seqs(&batch.batch)).map(|seqs| (seqs.first, seqs.last)).collect();
    assert_eq!(ranges, [(1, 3), (4, 11)]);
    assert_eq!(runs(&head, 3).len(), 1);
    assert_eq!(all_seqs(&without(&head, 3)), (4..12).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn order_and_days_stay_whatever_comes(sizes in prop::collection::vec((1i64..9, 0i32..3), 1..40)) {
        let mut head: Arc<[HeadBatch]> = Vec::new().into();
        let mut days = Vec::new();
        for (rows, day) in sizes {
            let first = days.len() as i64 + 1;
            head = append(&head, [batch(first..first + rows, day)], 0).unwrap();
            days.extend(std::iter::repeat_n(Day(day), rows as usize));
        }
        prop_assert_eq!(all_seqs(&head), (1..=days.len() as i64).collect::<Vec<_>>());
        let shown: Vec<Day> = head.iter().flat_map(|b| std::iter::repeat_n(b.day, b.batch.num_rows())).collect();
        prop_assert_eq!(&shown, &days);
        for run in runs(&head, days.len() as i64) {
            prop_assert!(run.iter().all(|batch| batch.day == run[0].day));
            prop_assert!(run.iter().all(|batch| batch.batch.column(0).null_count() == 0));
        }
    }
}
