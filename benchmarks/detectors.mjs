// Runs a TensorFlow.js graph for detectors.py: reads a line of JSON for each input, prints one.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

const LARGE = 500_000;
const [graph, modules] = process.argv.slice(2);
const require = createRequire(join(modules, "x.js"));
const tf = require("@tensorflow/tfjs-core");
const { loadGraphModel } = require("@tensorflow/tfjs-converter");
const { setWasmPaths, setThreadsCount } = require("@tensorflow/tfjs-backend-wasm");

setWasmPaths(join(modules, "@tensorflow", "tfjs-backend-wasm", "dist") + "/");
setThreadsCount(1);
await tf.setBackend("wasm");

const buffer = (path) => {
  const data = readFileSync(path);
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
};
const description = JSON.parse(readFileSync(graph));
const weights = description.weightsManifest.flatMap((part) =>
  part.paths.map((path) => readFileSync(join(dirname(graph), path))));
const whole = Buffer.concat(weights);
const model = await loadGraphModel({
  load: async () => ({
    modelTopology: description.modelTopology,
    signature: description.signature,
    weightSpecs: description.weightsManifest.flatMap((part) => part.weights),
    weightData: whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length),
  }),
});

for await (const line of createInterface({ input: process.stdin })) {
  const { file, shape } = JSON.parse(line);
  const input = tf.tensor(new Float32Array(buffer(file)), shape);
  const outputs = [model.execute(input, model.outputs.map((node) => node.name))].flat();
  // Maps with a score for each pixel are large; the detections are a separate output.
  const plain = outputs.filter((one) => one.size < LARGE).map((one) => ({ shape: one.shape, values: Array.from(one.dataSync()) }));
  console.log(JSON.stringify(plain));
  [input, ...outputs].forEach((one) => one.dispose());
}
