// Runs the graphs beside the page, so that it stays awake: by the processor, or by WebGPU.
import * as cpu from './ort/ort.wasm.min.mjs';

const runtimes = {cpu}, sessions = {};

async function sessionOf(graph, device) {
  const ort = runtimes[device] ??= await import('./ort/ort.webgpu.min.mjs');
  ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
  ort.env.wasm.numThreads =
    self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  const executionProviders = device === 'gpu' ? ['webgpu', 'wasm'] : ['wasm'];
  return ort.InferenceSession.create(`graphs/${graph}.onnx`, {executionProviders});
}

async function run(graph, feeds, device) {
  const key = `${device} ${graph}`;
  try {
    const session = await (sessions[key] ??= sessionOf(graph, device)), {Tensor} = runtimes[device];
    const tensors = Object.fromEntries(Object.entries(feeds)
      .map(([name, {data, dims}]) => [name, new Tensor('float32', data, dims)]));
    const output = (await session.run(tensors))[session.outputNames[0]];
    return {data: await output.getData(), dims: output.dims, device};
  } catch (error) {
    delete sessions[key];
    if (device === 'cpu') throw error;
    return run(graph, feeds, 'cpu'); // a driver may lack memory, or an operation
  }
}

onmessage = async ({data: {id, graph, feeds, device}}) => {
  try {
    postMessage({id, result: await run(graph, feeds, device)});
  } catch (error) {
    postMessage({id, error: String(error.message ?? error)});
  }
};
