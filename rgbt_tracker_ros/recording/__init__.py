"""Pairs of images to disk: what the recorder node does once it has them. No ROS in here.

What it leaves, DIR being the node's `output_dir` and NAME its `recording`:

```
DIR/
  .NAME.lock                      held (flock) by the one recorder that writes NAME here
  NAME_0000/                      a segment: a bag of its own, whole
    NAME_0000_0.mcap
    metadata.yaml                 as rosbag2 writes it (version 9): `ros2 bag info`, `play`
    manifest.json                 what metadata.yaml has no place for; see below
  NAME_0001/ ...
  NAME_0002.partial/              being written, or left by a process that was killed
    NAME_0002_0.mcap              ends after a whole chunk, or within one; no summary
    manifest.json                 with "state": "open" and counts of nothing
    reserve                       room kept to finish the segment on a full disk; no data
```

Numbers have four digits or more and only grow: a new start goes on after the highest one there is,
`.partial` included. A `.partial` that nobody writes is kept (the next start takes its `reserve`
away), but for keep-newest, to which it is a segment like any other; where the process was killed
within its first moment it has no MCAP file, or one without an image. Folders become NAME_0000 by
one rename, when all in them is on the disk (fsync): so they are whole after a power cut too.
Segments may be deleted or moved one by one, while others are recorded too: each stands for itself.

**The MCAP file.** Profile `ros2`; schemas `ros2msg` with all that they depend on; channels `cdr`
with rosbag2's metadata (`offered_qos_profiles`, `topic_type_hash`). Schemas and channels stand
outside of chunks, those of the cameras before the first one; all messages are in chunks. A chunk
is closed at `chunk_bytes`, and after `flush_interval` s in any case, and is then with the
operating system: a process that is killed loses what came after that. A power cut, or a kernel
that dies, loses what was not on the disk: chunks of the segment being written are put there every
2 s (fdatasync), which takes as long as the disk needs. Up to five topics:

- the two cameras, sensor_msgs/msg/Image or CompressedImage: the bytes that came, untouched. Only
  pairs: the RGB image and right after it its thermal partner, both with the MCAP `sequence` number
  of the pair, 0, 1, 2 ... in each segment. So a reader needs no matching: equal `sequence` on the
  two topics is a pair. RGB stamps ascend strictly within a segment.
- their camera_info, where published: once, before the first pair, with that pair's times (it may
  have come long before); again only when it changed, with its own.
- the tracker's ~/track, where it runs: as it came. A track's header stamp is that of the RGB image
  it is about; with gates there are tracks without a pair, and at a cut the track of the last pair
  may be in the next segment. Of camera_info and tracks `sequence` counts per topic and segment.

`log_time` is when a message was received, `publish_time` when it was sent (both as `ros2 bag
record` has it; with use_sim_time both by /clock). `log_time` need not ascend from message to
message: of a pair the thermal image often came first. Stamps of the headers are the time of the
images; nothing is corrected in the files, `thermal_time_offset` was only used to match.

**manifest.json** (keys are always there; `null` where unknown):

```
format      1
state       'open' | 'closed'
reason      why it ended: size, time, split, stop, shutdown, clock (stamps or the clock went back),
            disk (min_free_bytes or max_total_bytes reached, or the disk full); '' while open
software    'rgbt_tracker_ros 0.1.0'
recorder    the node's full name
recording   NAME;  segment  its number;  file  name of the MCAP file
compression 'none' | 'lz4' | 'zstd'
pairs       number of pairs;  tracks  number of tracks;  bytes  size of the MCAP file
first_stamp, last_stamp         ns, headers of the first and last RGB image
first_received, last_received   ns, earliest and latest log_time
streams     {'rgb': S, 'thermal': S}, S = {topic, type, frame_id,
              formats: [{encoding, width, height, pairs}] (of compressed images: encoding is the
                message's `format`, width and height null; several where a camera changed),
              minimum, maximum: smallest and largest value of the raw images, of every 8th pixel of
                every 8th row; null for compressed ones,
              received: images that came since the segment before,
              missed: images that the publisher sent before one of these, and that never came (0
                where the middleware does not number them, or there are several publishers)}
skew        {edges: [ms ...], counts: [n ...], median, p95: ms of |skew|, offset: ms}; skew is
            thermal minus RGB stamp with `offset` (thermal_time_offset) added; counts has one entry
            more than edges: below the first, between two (lower one included), from the last on
calibration {'rgb': [sha256 ...], 'thermal': [...]} of the camera_info messages in order, without
            encapsulation and stamp (bytes from 12 on); [] where there was none
gates       {every_n, min_interval, scene_change} as they were when the segment was opened
skipped     {every_n, interval, unchanged}: pairs that a gate left out since the segment before
dropped     pairs that came while the queue was full, since the segment before
unmatched   images without a partner since the segment before
lost        the first 100 of these, [[stamp, whose, reason] ...]: an image ('rgb', 'thermal') that
            is 'unmatched', or a 'pair' that was 'dropped', by the stamp of its RGB image; stamps
            in ns, as they came
```
"""
