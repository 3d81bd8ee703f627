//! Files in and out: what is wrong with an instance is named, and a solution survives its export.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod town;

use std::fs;

use backtest::{Instance, Solution, export, simulate};
use town::*;

/// What reading says of the tiny instance after a change of its files, without the directory.
fn complaint(change: impl FnOnce(&mut Files)) -> String {
    let scratch = Scratch::new();
    let mut files = tiny();
    change(&mut files);
    files.write(&scratch.0);
    let error = Instance::read(&scratch.0).unwrap_err().to_string();
    let dir = format!("{}/", scratch.0.display());
    error.strip_prefix(&dir).unwrap().to_owned()
}

#[test]
fn a_wrong_value_is_named_with_file_line_and_column() {
    assert_eq!(
        complaint(|files| files.orders[1] = "o2 north 200 6 r1 20".to_owned()),
        "orders.txt line 3, column 2: \"north\" is not a number"
    );
    assert_eq!(
        complaint(|files| files.orders[0] = "o1 450 0 5 r9 15".to_owned()),
        "orders.txt line 2, column 5: \"r9\" is not a restaurant of restaurants.txt"
    );
    assert_eq!(
        complaint(|files| files.orders[0] = "o1 450 0 5 r1".to_owned()),
        "orders.txt line 2, column 6: \"\" is not a value"
    );
    assert_eq!(
        complaint(|files| files.orders[0] = "o1 450 0 5 r1 4".to_owned()),
        "orders.txt line 2, column 6: \"4\" is not a minute from placement_time 5 on"
    );
    assert_eq!(
        complaint(|files| files.orders[1] = "o1 450 0 5 r1 15".to_owned()),
        "orders.txt line 3, column 1: \"o1\" is not an id of its own: an earlier row has it"
    );
    assert_eq!(
        complaint(|files| files.couriers[0] = "c1 0 0 60 0".to_owned()),
        "couriers.txt line 2, column 5: \"0\" is not a minute from on_time 60 on"
    );
    assert_eq!(
        complaint(|files| files.parameters = "0 4 2 40 90 10 15".to_owned()),
        "instance_parameters.txt line 2, column 1: \"0\" is not a speed above 0"
    );
    assert_eq!(
        complaint(|files| files.restaurants[0] = "r1 inf 0".to_owned()),
        "restaurants.txt line 2, column 2: \"inf\" is not a number"
    );
}

#[test]
fn a_file_without_rows_without_a_header_or_not_there_is_named() {
    assert_eq!(
        complaint(|files| files.orders.clear()),
        "orders.txt: no row below the header"
    );
    let scratch = Scratch::new();
    tiny().write(&scratch.0);
    fs::write(scratch.0.join("couriers.txt"), "c1\t0\t0\t0\t60\n").unwrap();
    let error = Instance::read(&scratch.0).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "couriers.txt line 1, column 1: \"c1\" is not the header's first column, \"courier\""
        ),
        "{error}"
    );
    fs::remove_file(scratch.0.join("couriers.txt")).unwrap();
    let error = Instance::read(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("couriers.txt: "), "{error}");
}

#[test]
fn a_directory_stands_for_the_instances_in_it_by_name() {
    let scratch = Scratch::new();
    for name in ["b", "a"] {
        tiny().write(&scratch.0.join(name));
    }
    fs::create_dir(scratch.0.join("empty")).unwrap();
    let found = Instance::directories(&scratch.0).unwrap();
    assert_eq!(found, [scratch.0.join("a"), scratch.0.join("b")]);
    assert_eq!(Instance::directories(&found[0]).unwrap(), found[..1]);
    let none = Instance::directories(&scratch.0.join("empty")).unwrap_err();
    assert!(none.to_string().contains("empty"), "{none}");
}

#[test]
fn an_exported_solution_reads_back_as_it_was() {
    let mut cases: Vec<(Instance, Solution)> = vec![(tiny().read(), tiny_bundle())];
    for name in POLICIES {
        let instance = generated(7).read();
        let solution = simulate(&instance, &policy(name), TOLERANCE).solution;
        cases.push((instance, solution));
    }
    for (instance, solution) in cases {
        let scratch = Scratch::new();
        export::write(&scratch.0, &instance, &solution).unwrap();
        assert_eq!(export::read(&scratch.0, &instance).unwrap(), solution);
    }
}

#[test]
fn solution_files_are_as_the_public_evaluator_reads_them() {
    let scratch = Scratch::new();
    export::write(&scratch.0, &tiny().read(), &tiny_bundle()).unwrap();
    let file = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
    assert_eq!(
        file("solution_info_assignments.txt"),
        "assignment_time pickup_time courier_id order_list\n6 20 c1 o1 o2\n"
    );
    assert_eq!(
        file("solution_info_orders.txt"),
        "order placement_time ready_time pickup_time dropoff_time courier\no1 5 15 20 28 c1\no2 6 20 20 35 c1\n"
    );
    assert_eq!(
        file("solution_info_couriers.txt"),
        "courier_id departure_time origin destination\nc1 6 0 r1\nc1 22 r1 o1\nc1 29 o1 o2\n"
    );
}

#[test]
fn solution_files_that_contradict_each_other_are_refused() {
    let scratch = Scratch::new();
    let instance = tiny().read();
    let read_with = |name: &str, text: &str| {
        export::write(&scratch.0, &instance, &tiny_bundle()).unwrap();
        fs::write(scratch.0.join(name), text).unwrap();
        export::read(&scratch.0, &instance).unwrap_err().to_string()
    };
    let moves =
        "courier_id departure_time origin destination\nc1 6 0 r1\nc1 22 r1 o2\nc1 29 o1 o2\n";
    let error = read_with("solution_info_couriers.txt", moves);
    assert!(
        error.ends_with("line 3, column 4: \"o2\" is not \"o1\", where his trip goes"),
        "{error}"
    );
    let orders =
        "order placement_time ready_time pickup_time dropoff_time courier\no1 5 15 20 28 c1\n";
    let error = read_with("solution_info_orders.txt", orders);
    assert!(
        error.ends_with("line 2, column 5: \"o2\" is not an order of solution_info_orders.txt"),
        "{error}"
    );
}
