/** A sleep that others can end early. */
export class Waker {
  #wake: () => void = () => undefined

  wake(): void {
    this.#wake()
  }

  /** Resolves after so many milliseconds, when woken, or at once when the signal is aborted already. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, milliseconds)
      function done(): void {
        clearTimeout(timer)
        resolve()
      }
      this.#wake = done
      if (signal.aborted) done()
    })
  }
}
