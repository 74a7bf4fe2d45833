mod calling;
mod crashing;
