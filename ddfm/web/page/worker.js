// Runs the graphs in the background, so that the page stays responsive.
import * as ort from './ort/ort.wasm.min.mjs';

ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
const sessions = {};

onmessage = async ({data: {id, graph, feeds}}) => {
  try {
    sessions[graph] ??= ort.InferenceSession.create(`graphs/${graph}.onnx`);
    const session = await sessions[graph];
    const tensors = Object.fromEntries(Object.entries(feeds)
      .map(([name, {data, dims}]) => [name, new ort.Tensor('float32', data, dims)]));
    const output = (await session.run(tensors))[session.outputNames[0]];
    postMessage({id, result: {data: output.data, dims: output.dims}}, [output.data.buffer]);
  } catch (error) {
    delete sessions[graph];
    postMessage({id, error: String(error.message ?? error)});
  }
};
