// In JupyterLab's page: run all cells of the open notebook, or put code below the last one and run that.
async code => {
    const {commands, shell} = jupyterapp, book = shell.currentWidget.content
    book.activeCellIndex = book.widgets.length - 1
    if (code) await commands.execute("notebook:insert-cell-below")
    if (code) book.activeCell.model.sharedModel.setSource(code)
    await commands.execute(code ? "notebook:run-cell" : "notebook:run-all-cells")
    await book.scrollToItem(book.activeCellIndex, "end")
    return (code ? [book.activeCell] : book.widgets).flatMap(cell => cell.model.outputs?.toJSON() ?? [])
}
