//! Times the operators: `bench_ops NAME…` prints medians of wall and processor time.

mod cnn;
mod gru;
mod timing;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    if !cnn::run(&name, &rest) && !gru::run(&name, &rest) {
        eprintln!("unknown benchmark {name:?}; known: {:?} {:?}", cnn::NAMES, gru::NAMES);
        std::process::exit(2);
    }
}
