// What the tests run in the page; each function ends when the media have, or fails with the browser's own words.

const until = (target, event) =>
  new Promise((resolve, reject) => {
    target.addEventListener(event, () => resolve(target), { once: true });
    target.addEventListener("error", () => reject(new Error(target.error?.message ?? "error")), { once: true });
  });

const element = (name) => {
  const made = document.createElement(name);
  // The media are another origin's, as they are for every shop.
  made.crossOrigin = "anonymous";
  made.muted = true;
  document.body.replaceChildren(made);
  return made;
};

const seen = (video) => ({
  width: video.videoWidth,
  height: video.videoHeight,
  duration: video.duration,
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
});

// The colours, as [red, green, blue], at the middle of the picture that is shown.
const middle = (picture, width, height) => {
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  context.drawImage(picture, 0, 0);
  return [...context.getImageData(width / 2, height / 2, 1, 1).data].slice(0, 3);
};

window.playVideo = async (url) => {
  const video = element("video");
  video.src = url;
  const ended = until(video, "ended");
  await video.play();
  await ended;
  return { ...seen(video), middle: middle(video, video.videoWidth, video.videoHeight) };
};

window.playAudio = async (url) => {
  const audio = element("audio");
  audio.src = url;
  const ended = until(audio, "ended");
  await audio.play();
  await ended;
  return { duration: audio.duration };
};

// Jump to a second and say how far from it the player lands.
window.seek = async (url, second) => {
  const video = element("video");
  video.src = url;
  await until(video, "loadeddata");
  video.currentTime = second;
  await until(video, "seeked");
  return Math.abs(video.currentTime - second);
};

// Play each size of a ladder to its end.
window.playLadder = async (url) => {
  const levels = [];
  for (let level = 0, count = 1; level < count; level += 1) {
    const video = element("video");
    const player = new Hls({ startLevel: level });
    const failed = new Promise((_, reject) =>
      player.on(Hls.Events.ERROR, (_event, data) => data.fatal && reject(new Error(data.details))),
    );
    player.loadSource(url);
    player.attachMedia(video);
    await Promise.race([failed, new Promise((resolve) => player.on(Hls.Events.MANIFEST_PARSED, resolve))]);
    count = player.levels.length;
    player.currentLevel = level;
    const { height, width, videoCodec, bitrate } = player.levels[level];
    const ended = until(video, "ended");
    await Promise.race([failed, video.play().then(() => ended)]);
    levels.push({ height, width, videoCodec, bitrate, sounds: player.audioTracks.length, played: seen(video) });
    player.destroy();
  }
  return levels;
};

// The cues of a storyboard, and whether each names a part of its picture.
window.readCues = async (url) => {
  const video = element("video");
  const track = Object.assign(document.createElement("track"), { kind: "metadata", src: url, default: true });
  video.append(track);
  track.track.mode = "hidden";
  await until(track, "load");
  const cues = [];
  for (const cue of track.track.cues) {
    const [name, box] = cue.text.split("#xywh=");
    const picture = new Image();
    picture.crossOrigin = "anonymous";
    picture.src = new URL(name, url).href;
    await picture.decode();
    const [x, y, width, height] = box.split(",").map(Number);
    const within = x + width <= picture.naturalWidth && y + height <= picture.naturalHeight;
    cues.push({ start: cue.startTime, end: cue.endTime, x, y, width, height, within });
  }
  return cues;
};

window.showImage = async (url) => {
  const picture = new Image();
  picture.crossOrigin = "anonymous";
  picture.src = url;
  await picture.decode();
  const { naturalWidth: width, naturalHeight: height } = picture;
  return { width, height, middle: middle(picture, width, height) };
};

// How many frames a browser finds in an animation.
window.countFrames = async (url, type) => {
  const decoder = new ImageDecoder({ data: (await fetch(url)).body, type });
  await decoder.completed;
  return decoder.tracks.selectedTrack.frameCount;
};
