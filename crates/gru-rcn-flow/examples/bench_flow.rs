//! Times optical flow on one thread and measures its error:
//! `bench_flow FIRST SECOND [--method M] [--truth FLO] [--runs N] [--threads T]`.
//!
//! The method is `tvl1`, the default, or a preset of dense inverse search: `ultrafast`, `fast` or
//! `medium`. Prints one line of JSON: the median and the least milliseconds of all runs, by the
//! clock and, on Linux, by the time that the processor spent on them; with the true flow also the
//! average endpoint error in pixels. `--threads T` also times 16 pairs on T threads.

use std::error::Error;
use std::time::Instant;

use gru_rcn_flow::{Dis, DisWorkspace, FlowError, Image, TvL1, flo};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut paths, mut dis) = (Vec::new(), None);
    let (mut truth, mut runs, mut threads) = (None, 5usize, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--method" => {
                dis = match value()?.as_str() {
                    "tvl1" => None,
                    "ultrafast" => Some(Dis::ultrafast()),
                    "fast" => Some(Dis::fast()),
                    "medium" => Some(Dis::medium()),
                    other => return Err(format!("no method {other}").into()),
                }
            }
            "--truth" => truth = Some(flo::load(value()?)?),
            "--runs" => runs = value()?.parse::<usize>()?.max(1),
            "--threads" => threads = Some(value()?.parse::<usize>()?),
            _ => paths.push(argument),
        }
    }
    let [first, second] = paths.as_slice() else {
        return Err("usage: bench_flow FIRST SECOND [--method M] [--truth FLO] [--runs N] [--threads T]".into());
    };
    let (first, second) = (grey(first)?, grey(second)?);
    let settings = TvL1::default();

    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut time = |run: &mut dyn FnMut() -> Result<(), FlowError>| {
        let (start, before) = (Instant::now(), processor_ms());
        run()?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        cpu.extend(before.zip(processor_ms()).map(|(before, after)| after - before));
        Ok::<_, FlowError>(())
    };
    let flow = if let Some(dis) = &dis {
        // The buffers are those of the previous pair.
        let mut workspace = DisWorkspace::new(dis.clone())?;
        let flow = workspace.flow(&first, &second)?;
        for _ in 0..runs {
            time(&mut || workspace.flow(&first, &second).map(drop))?;
        }
        flow
    } else {
        // As in a video: memory and the pyramid of the first frame exist already.
        let mut sequence = settings.sequence()?;
        for _ in 0..runs {
            sequence.restart();
            sequence.push(&first)?;
            time(&mut || sequence.push(&second).map(drop))?;
        }
        settings.flow(&first, &second)?
    };
    let error = match &truth {
        Some(truth) => flow.endpoint_error(truth)?,
        None => None,
    };
    print!(r#"{{"width": {}, "height": {}, "#, first.width(), first.height());
    print!(r#""wall_ms": {}, "cpu_ms": {}, "#, summary(wall), summary(cpu));
    print!(r#""endpoint_error": {}"#, error.map_or("null".to_string(), |error| error.to_string()));
    if let Some(threads) = threads {
        let frames: Vec<Image> = (0..17).map(|i| if i % 2 == 0 { first.clone() } else { second.clone() }).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let start = Instant::now();
        let flows = pool.install(|| dis.as_ref().map_or_else(|| settings.flows(&frames), |dis| dis.flows(&frames)))?;
        let rate = flows.len() as f64 / start.elapsed().as_secs_f64();
        print!(r#", "threads": {threads}, "pairs_per_second": {rate}"#);
    }
    println!("}}");
    Ok(())
}

/// Median and least as JSON.
fn summary(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.first() {
        Some(least) => format!(r#"{{"median": {}, "least": {least}}}"#, values[values.len() / 2]),
        None => "null".to_string(),
    }
}

/// Processor time of this thread, without that of other programs; known on Linux only.
fn processor_ms() -> Option<f64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1e6)
}

fn grey(path: &str) -> Result<Image, Box<dyn Error>> {
    let picture = image::open(path)?.into_rgb8();
    Ok(Image::from_rgb8(picture.width() as usize, picture.height() as usize, &picture)?)
}
