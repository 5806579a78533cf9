// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// Starting a training, following it, stopping it.

import { get, post, request } from "./api.js";

const $ = (id) => document.getElementById(id);
const EPOCHS = 10;

export function startTraining({ showStatus, say }) {
  let running = false;

  async function follow() {
    const status = await get("effusion/status");
    showStatus(status);
    const { training } = status;
    running = ["SUBMITTED", "RUNNING"].includes(training?.status);
    $("training").hidden = !training;
    $("train").disabled = running;
    $("stop").hidden = !running;
    if (training) {
      $("progress").hidden = !running;
      $("progress").max = training.epochs ?? EPOCHS;
      $("progress").value = training.epoch;
      $("training-text").textContent = describe(training);
    }
  }

  let timer;
  const watch = async () => {
    clearTimeout(timer);
    await follow().catch((error) => say(error.message, true));
    timer = setTimeout(watch, running ? 2000 : 15000);
  };

  $("train").addEventListener("click", async () => {
    $("train").disabled = true;
    try {
      await post("train/effusion", { max_epochs: EPOCHS });
      say("");
    } catch (error) {
      say(error.message, true);
    }
    await watch();
  });
  $("stop").addEventListener("click", async () => {
    await request("train/", { method: "DELETE" }).catch((error) => say(error.message, true));
    await watch();
  });
  watch();
}

function describe(training) {
  if (training.status === "SUBMITTED") return "training is about to begin …";
  if (training.status === "RUNNING") {
    const dice = training.dice === null ? "" : `, Dice ${training.dice.toFixed(3)}`;
    return `epoch ${training.epoch} of ${training.epochs ?? EPOCHS}${dice}`;
  }
  if (training.status === "STOPPED") return "training stopped; the model is as it was";
  if (!training.result) return `training failed, the model is as it was: ${training.last}`;
  const { old_dice, new_dice, judged, replaced } = JSON.parse(training.result);
  const compared = `Dice on ${judged} validation frames: ${new_dice.toFixed(3)}, before ${old_dice.toFixed(3)}`;
  return replaced ? `new model in use. ${compared}` : `not better, the model is as it was. ${compared}`;
}
